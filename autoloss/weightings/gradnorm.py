"""GradNorm, by the paper's rule."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.weighting import Weighting


class Gradnorm(Weighting):
    """Learns weights under which every loss's gradient has the norm that its training rate asks for.

    With ``G_k = w_k ||grad L_k||`` at the anchor, ``G`` their mean, and the relative inverse
    training rate ``r_k = (L_k / L_k(0)) / mean_j (L_j / L_j(0))``, w takes a step down
    ``sum_k |G_k - G r_k^alpha|`` (eq. 2, target held constant) and is scaled to sum to K. The
    exponent is ``+alpha``: the loss that fell least gets the larger gradient. The derivative of
    G_k with respect to w_k is the norm itself, so there is no second backward.

    Args:
        alpha: strength of the restoring force, at least 0; 0 makes all gradient norms equal.
        lr: learning rate of the weights' Adam, above 0. Weights oscillate by about this much.
        smallest: the least weight, in (0, 1), where their mean is 1; without it a step might cross 0.

    Unlike in the paper, the norms are divided by their mean before Adam's step, so that a common scale of the
    gradients (a loss in other units, a larger network) does not matter beside Adam's eps; signs and ratios stay.

    lucidrains' implementation uses ``-alpha`` and lets the weights' loss change the model's
    gradients; LibMTL runs equal weights for an epoch first. The paper's anchor is the last shared
    layer's weight; the shared features (default here) cost less.
    """

    weights: Tensor
    initial: Tensor
    needs = Need.VALUES | Need.GRAM
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    search_space = {"alpha": Interval(0.0, 3.0)}
    use = "Losses of different scale or speed, where the gradient of one dominates."
    avoid = "A loss starts at 0, or has samples that no other loss has (give parameters as anchor)."
    citation = "Chen, Badrinarayanan, Lee, Rabinovich: GradNorm, ICML 2018, arXiv:1711.02257"

    def __init__(self, alpha: float = 1.5, lr: float = 0.025, smallest: float = 1e-3) -> None:
        super().__init__()
        require(alpha >= 0, "`alpha` must be at least 0", f"alpha={alpha}")
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(0 < smallest < 1, "`smallest` must lie in (0, 1)", f"smallest={smallest}")
        self.alpha, self.smallest = alpha, smallest
        self.adam = AdamState(lr)

    def allocate(self, size: int) -> None:
        self.add_state("weights", torch.ones(size), axes=1)
        self.add_state("initial", torch.full((size,), torch.nan), axes=1)
        self.adam.allocate(size)

    def forward(self, signals: Signals) -> Tensor:
        return signals.sum_to_count(self.weights)

    def update(self, signals: Signals) -> None:
        self.initial.copy_(torch.where(self.initial.isnan(), signals.values, self.initial))
        norms = signals.gram.diagonal().sqrt()
        scaled = signals.sum_to_count(self.weights) * norms
        ratio = signals.values / self.initial
        ratio = torch.where(ratio.isfinite(), ratio, 1.0).clamp(min=0)
        target = signals.mean(scaled) * (ratio / signals.mean(ratio).clamp(min=1e-30)) ** self.alpha
        # Relative norms: Adam would see their common scale only through its eps.
        relative = norms / signals.mean(norms).clamp(min=1e-30)
        self.adam.step(self.weights, relative * torch.sign(scaled - target))
        self.weights.clamp_(min=self.smallest)
        self.weights.copy_(torch.where(signals.present, signals.sum_to_count(self.weights), self.weights))
