"""Uncertainty weighting with a regulariser that stays positive."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.weighting import Weighting
from autoloss.weightings.uncertainty import LOGARITHM, STEEPEST


class RevisedUncertainty(Weighting):
    """Learns a log-variance s_k for each loss and weights it by ``1/2 exp(-s_k)``; the total stays positive.

    Each ``s = log sigma^2`` takes Adam steps on ``L / (2 sigma^2) + log(1 + sigma^2)``, that is
    ``1/2 exp(-s) L + log(1 + exp(s))``; the optimum is ``sigma^2 = (L + sqrt(L^2 + 8 L)) / 4``. Where
    uncertainty regularises with ``log sigma`` and the total may fall below 0, this one cannot.

    Args:
        lr: learning rate of the log-variances, above 0.
        start: log-variance to start from.

    The common port learns sigma itself, whose steps may cross 0, where the weight is infinite; a
    log-variance cannot. It is kept within [-46, 46]: weights from 1e-20 to 1e20.
    """

    log_variance: Tensor
    claims = frozenset({"permutation_equivariant"})
    positive = True
    search_space = {"lr": Interval(1e-3, 1e-1, log=True)}
    use = "Losses of different scales, where you watch the total and it must stay positive."
    avoid = "A loss goes to 0: its weight grows to 1e20 (wrap it in clamp)."
    citation = "Liebel, Koerner: Auxiliary tasks in multi-task learning, 2018, arXiv:1805.06334"

    def __init__(self, lr: float = 0.01, start: float = 0.0) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(abs(start) <= LOGARITHM, f"`start` must lie in [-{LOGARITHM:g}, {LOGARITHM:g}]", f"start={start}")
        self.start = start
        self.adam = AdamState(lr)

    def allocate(self, size: int) -> None:
        self.add_state("log_variance", torch.full((size,), float(self.start)), axes=1)
        self.adam.allocate(size)

    def forward(self, signals: Signals) -> Tensor:
        return 0.5 * torch.exp(-self.log_variance)

    def update(self, signals: Signals) -> None:
        rise = torch.exp(-self.log_variance) * signals.values
        gradient = torch.sub(torch.sigmoid(self.log_variance), rise, alpha=0.5)
        self.adam.step(self.log_variance, gradient.clamp(min=-STEEPEST))
        self.log_variance.clamp_(-LOGARITHM, LOGARITHM)
