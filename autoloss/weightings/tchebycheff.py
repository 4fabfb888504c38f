"""The largest weighted loss."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class Tchebycheff(Scalarization):
    """Minimises the worst loss alone: ``S = max_k a_k (L_k - z_k)``, so ``w_k = a_k`` there and 0 elsewhere.

    Equal worst losses share: each of m gets ``a_k / m``. Minima of S reach every Pareto-optimal
    point as a varies, those of a weighted sum only the convex part of the front.

    Args:
        preference: a by loss name, each at least 0; a loss that is not named has 1.
        ideal: z by loss name, a lower bound of the loss; 0 for a loss that is not named.
    """

    preference: Tensor
    ideal: Tensor
    claims = frozenset({"permutation_equivariant"})
    use = "Losses of similar scale, of which the worst is what counts."
    avoid = "Mini-batch noise decides which is worst, and the rest learn nothing (take smooth_tchebycheff)."
    citation = "Steuer, Choo: An interactive weighted Tchebycheff procedure, Mathematical Programming 1983"

    def __init__(self, preference: Mapping[str, float] = {}, ideal: Mapping[str, float] = {}) -> None:
        super().__init__()
        for name, weight in preference.items():
            check_weight(f"preference.{name}", weight)
        for name, value in ideal.items():
            require(math.isfinite(value), "An ideal value must be finite", f"ideal.{name}={value}")
        self.given, self.given_ideal = dict(preference), dict(ideal)

    def allocate(self, size: int) -> None:
        self.register_buffer("preference", self.per_loss(self.given), persistent=False)
        self.register_buffer("ideal", self.per_loss(self.given_ideal, missing=0.0), persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        weighted = self.preference * (values - self.ideal)
        return weighted.masked_fill(~signals.present, -math.inf).amax()
