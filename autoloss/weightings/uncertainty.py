"""Homoscedastic uncertainty weighting."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.weighting import Weighting

# Each variant is a L exp(-b s) + c s in the log-variance s: (a, b, c).
VARIANTS = {"gaussian": (0.5, 1.0, 0.5), "softmax": (1.0, 1.0, 0.5), "laplace": (1.0, 0.5, 0.5)}
# The weight lies in [1e-20, 1e20], and no gradient is longer than 1e18: float32 holds its square.
LOGARITHM, STEEPEST = 46.0, 1e18


class Uncertainty(Weighting):
    """Learns a log-variance s_k for each loss and weights it by its inverse variance.

    ``gaussian`` (regression): ``sum 1/2 exp(-s_k) L_k + s_k / 2``, optimum ``s = log L``;
    ``softmax`` (classification): ``sum exp(-s_k) L_k + s_k / 2``, optimum ``s = log 2L``;
    ``laplace`` (L1): ``sum exp(-s_k / 2) L_k + s_k / 2``, optimum ``sigma = L``. Each s takes Adam
    steps on this objective; the weight is the factor of L_k. The log-variances are state of the
    weighting, not parameters of the model: no weight decay pulls them to 0 and no clipping sees
    them; with the model's learning rate they move exactly as they would in its Adam.

    Args:
        variant: ``gaussian``, ``softmax`` or ``laplace``, for all losses or by loss name (default gaussian).
        lr: learning rate of the log-variances, above 0.
        start: log-variance to start from; 0 in most implementations, -0.5 in MTAN and LibMTL.

    The log-variance is kept within [-46, 46], for ``laplace`` within [-92, 92]: weights from 1e-20 to 1e20. A loss
    that was 0 for very long comes back with such a weight, and Adam takes as long to lower it: ``clamp`` bounds that.
    """

    log_variance: Tensor
    factors: Tensor
    claims = frozenset({"permutation_equivariant"})
    search_space = {"lr": Interval(1e-3, 1e-1, log=True)}
    use = "Losses that are likelihoods, or of different scales; it measures no gradients."
    avoid = "A loss goes to 0 or below: its weight grows to 1e20 (wrap it in clamp)."
    citation = "Kendall, Gal, Cipolla: Multi-task learning using uncertainty, CVPR 2018, arXiv:1705.07115"

    def __init__(self, variant: str | Mapping[str, str] = "gaussian", lr: float = 0.01, start: float = 0.0) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        for name in variant.values() if isinstance(variant, Mapping) else [variant]:
            require(name in VARIANTS, f"`variant` must be one of {', '.join(VARIANTS)}", f"it is {name!r}")
        require(abs(start) <= LOGARITHM, f"`start` must lie in [-{LOGARITHM:g}, {LOGARITHM:g}]", f"start={start}")
        self.variant, self.start = variant, start
        self.adam = AdamState(lr)

    def allocate(self, size: int) -> None:
        given = self.variant if isinstance(self.variant, Mapping) else dict.fromkeys(self.names, self.variant)
        self.per_loss(dict.fromkeys(given, 1.0))
        rows = torch.tensor([VARIANTS[given.get(name, "gaussian")] for name in self.names])
        a, b, c = rows.unbind(1)
        factors = [a, -b, b * a, c, -LOGARITHM / b, LOGARITHM / b]
        self.register_buffer("factors", torch.stack(factors), persistent=False)
        self.add_state("log_variance", torch.full((size,), float(self.start)), axes=1)
        self.adam.allocate(size)

    def forward(self, signals: Signals) -> Tensor:
        a, minus_b, *_ = self.factors.unbind()
        return a * torch.exp(minus_b * self.log_variance)

    def update(self, signals: Signals) -> None:
        _, minus_b, slope, c, least, most = self.factors.unbind()
        gradient = c - slope * torch.exp(minus_b * self.log_variance) * signals.values
        self.adam.step(self.log_variance, gradient.clamp(-STEEPEST, STEEPEST))
        self.log_variance.clamp_(least, most)
