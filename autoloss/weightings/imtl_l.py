"""The loss-balancing half of impartial multi-task learning."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.weighting import Weighting
from autoloss.weightings.uncertainty import LOGARITHM, STEEPEST


class ImtlL(Weighting):
    """Learns a log-scale s_k for each loss that brings it to 1, and weights it by ``exp(s_k)``.

    Each s takes Adam steps on ``exp(s) L - s``, whose optimum is ``s = -log L``. This is twice the
    Gaussian uncertainty in ``-s``: the path under Adam is the same, and the weights are twice as large.
    The log-scales are state of the weighting and not parameters of the model.

    Args:
        lr: learning rate of the log-scales, above 0.
        start: log-scale to start from; 0 in the paper.

    The log-scale is kept within [-46, 46]: weights from 1e-20 to 1e20.
    """

    log_scale: Tensor
    claims = frozenset({"permutation_equivariant"})
    positive = True
    search_space = {"lr": Interval(1e-3, 1e-1, log=True)}
    use = "Losses of different scales that are no likelihoods; together with a gradient method it is all of IMTL."
    avoid = "A loss goes to 0: its weight grows to 1e20 (wrap it in clamp)."
    citation = "Liu et al.: Towards impartial multi-task learning, ICLR 2021"

    def __init__(self, lr: float = 0.01, start: float = 0.0) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(abs(start) <= LOGARITHM, f"`start` must lie in [-{LOGARITHM:g}, {LOGARITHM:g}]", f"start={start}")
        self.start = start
        self.adam = AdamState(lr)

    def allocate(self, size: int) -> None:
        self.add_state("log_scale", torch.full((size,), float(self.start)), axes=1)
        self.adam.allocate(size)

    def forward(self, signals: Signals) -> Tensor:
        return torch.exp(self.log_scale)

    def update(self, signals: Signals) -> None:
        gradient = self(signals) * signals.values - 1
        self.adam.step(self.log_scale, gradient.clamp(max=STEEPEST))
        self.log_scale.clamp_(-LOGARITHM, LOGARITHM)
