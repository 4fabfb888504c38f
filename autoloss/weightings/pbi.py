"""Progress along a preferred direction, and a penalty for leaving it."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class Pbi(Scalarization):
    """Minimises the distance along a direction plus the distance from it: ``S = d1 + theta d2``, ``u = a / |a|``.

    ``d1 = <L - z, u>``, ``d2 = |L - z - d1 u|``, so ``w = u + theta (L - z - d1 u) / d2``: a loss above
    its share in the direction a gains weight, and one below its share loses weight, which may become negative.

    Args:
        theta: penalty, at least 0; 5 in MOEA/D.
        preference: a by loss name, each at least 0; a loss that is not named has 1.
        ideal: z by loss name, a lower bound of the loss; 0 for a loss that is not named.

    The gradient of d2 does not exist on the direction itself; within 1e-5 of ``|L - z|`` it goes to
    0 smoothly. TorchJD's floor is absolute, and it dominates losses below 1e-6.
    """

    preference: Tensor
    ideal: Tensor
    claims = frozenset({"permutation_equivariant"})
    search_space = {"theta": Interval(0.1, 10.0, log=True)}
    use = "The point of the Pareto front in one given direction."
    avoid = "No loss may be raised on purpose: weights below 0 do that."
    citation = "Zhang, Li: MOEA/D, IEEE Transactions on Evolutionary Computation 2007"

    def __init__(
        self, theta: float = 5.0, preference: Mapping[str, float] = {}, ideal: Mapping[str, float] = {}
    ) -> None:
        super().__init__()
        require(theta >= 0, "`theta` must be at least 0", f"theta={theta}")
        for name, weight in preference.items():
            check_weight(f"preference.{name}", weight)
        for name, value in ideal.items():
            require(math.isfinite(value), "An ideal value must be finite", f"ideal.{name}={value}")
        self.theta, self.given, self.given_ideal = theta, dict(preference), dict(ideal)

    def allocate(self, size: int) -> None:
        self.register_buffer("preference", self.per_loss(self.given), persistent=False)
        self.register_buffer("ideal", self.per_loss(self.given_ideal, missing=0.0), persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        direction = self.preference * signals.present
        direction = direction / direction.square().sum().clamp(min=1e-30).sqrt()
        height = (values - self.ideal) * signals.present
        scale = height.detach().abs().amax().clamp(min=1e-20)
        height = height / scale
        along = (height * direction).sum()
        floor = 1e-10 * height.detach().square().sum().clamp(min=1.0)
        apart = ((height - along * direction).square().sum() + floor).sqrt()
        return scale * (along + self.theta * apart)
