"""Weights by coefficients of variation."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Cov(Weighting):
    """Weights each loss by how much it varies, relative to its size, over all of training.

    With the loss ratio ``l_k(t) = L_k(t) / mean of L_k before t``, ``c_k = std(l_k) / mean(l_k)`` and
    ``w = K c / sum(c)``, all over steps before this one. A loss that had fewer than two values gets
    the mean weight. The paper's weights sum to 1, these to the number K of present losses.

    Args:
        decay: 1 for the whole history; below 1, in (0, 1), for exponential averages.

    The variance has a floor of 1e-8, as in the authors' code. Their decay leaves the variance
    undecayed; here all three averages decay. Mean and variance are averages and not sums: a sum
    in float32 stops growing after 1e7 steps.
    """

    mean_loss: Tensor
    mean_ratio: Tensor
    variance: Tensor
    seen: Tensor
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    positive = True
    use = "Losses that count as done once they no longer change: the others get their weight; scales do not matter."
    avoid = "Losses differ in noise: a noisy loss varies, and gets weight for it."
    citation = "Groenendijk et al.: Multi-loss weighting with coefficient of variations, WACV 2021, arXiv:2009.01717"

    def __init__(self, decay: float = 1.0) -> None:
        super().__init__()
        require(0 < decay <= 1, "`decay` must lie in (0, 1]", f"decay={decay}")
        self.decay = decay

    def allocate(self, size: int) -> None:
        for name in ("mean_loss", "mean_ratio", "variance", "seen"):
            self.add_state(name, torch.zeros(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        variation = (self.variance + 1e-8).sqrt() / self.mean_ratio
        known = signals.present & (self.seen >= 2)
        mean = torch.where(known, variation, 0.0).sum() / known.sum()
        mean = torch.where(known.any(), mean, 1.0)
        return signals.sum_to_count(torch.where(known, variation, mean))

    def update(self, signals: Signals) -> None:
        loss = signals.values.clamp(min=1e-20)
        before = torch.where(self.seen > 0, self.mean_loss, loss)
        # The ratio to a mean of nearly 0 means nothing, and its square must be finite.
        ratio = (loss / before).clamp(max=1e9)
        self.seen += 1
        share = (1 / self.seen).clamp(min=1 - self.decay)
        change = ratio - self.mean_ratio
        self.mean_ratio += share * change
        self.variance.lerp_(change * (ratio - self.mean_ratio), share)
        self.mean_loss.copy_(before.lerp(loss, share))
