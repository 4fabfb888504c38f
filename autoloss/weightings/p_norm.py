"""The p-norm of the losses."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class PNorm(Scalarization):
    """Minimises a norm of the losses: ``S = (sum_k (a_k L_k)^p)^(1/p)``, so ``w_k = a_k (a_k L_k / S)^(p-1)``.

    It goes from the weighted sum (p = 1) to the worst loss alone (p to infinity): the larger p, the more
    a large loss counts. Losses are divided by the largest before the power, so that none over- or underflows.

    Args:
        p: the norm, at least 1.
        weights: a by loss name, each at least 0; a loss that is not named has 1.
    """

    weights: Tensor
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    positive = True
    search_space = {"p": Interval(1.0, 8.0, log=True)}
    use = "Large losses that should count more than small ones, by a degree that can be searched."
    avoid = "Losses have different scales: the largest takes nearly all the weight."
    citation = "folklore (weighted metrics, Miettinen: Nonlinear multiobjective optimization, 1999)"

    def __init__(self, p: float = 2.0, weights: Mapping[str, float] = {}) -> None:
        super().__init__()
        require(1 <= p < math.inf, "`p` must be at least 1 and finite", f"p={p}")
        for name, weight in weights.items():
            check_weight(f"weights.{name}", weight)
        self.p, self.given = p, dict(weights)

    def allocate(self, size: int) -> None:
        self.register_buffer("weights", self.per_loss(self.given), persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        weighted = self.weights * values * signals.present
        largest = weighted.detach().amax().clamp(min=1e-20)
        return largest * ((weighted / largest) ** self.p).sum() ** (1 / self.p)

    def forward(self, signals: Signals) -> Tensor:
        # The floors: losses that are all 0 count as equal, and a batch with losses of weight 0 only gives 0.
        values = signals.values.clamp(min=1e-20)
        norm = self.scalar(values, signals).clamp(min=1e-37)
        return self.weights * (self.weights * values / norm) ** (self.p - 1)
