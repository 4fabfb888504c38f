"""A weighted sum, and a pull towards a preferred ratio of the losses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class Cosmos(Scalarization):
    """Minimises a weighted sum minus a cosine: ``S = <a, L> - penalty cos(a, L)``.

    ``w_k = a_k - penalty (a_k / (|a| |L|) - cos(a, L) L_k / |L|^2)``: a loss above its share in the
    direction a gains weight, and one below its share loses weight, which may become negative.

    Args:
        penalty: how strongly losses are pulled towards the proportions a, at least 0. In units of
            the loss: the paper's go from 0.01 to 8.
        preference: a by loss name, each at least 0; a loss that is not named has 1.

    The paper draws a for each batch and gives it to the network, which then learns the whole Pareto
    front; here a is fixed, and one point of the front is trained.
    """

    preference: Tensor
    claims = frozenset({"permutation_equivariant"})
    search_space = {"penalty": Interval(0.01, 8.0, log=True)}
    use = "A known proportion between losses that should hold more strictly than a weighted sum gives it."
    avoid = "Losses are near 0: the cosine's gradient grows as 1 / |L|, and weights become negative."
    citation = "Ruchte, Grabocka: Scalable Pareto front approximation, ICDM 2021, arXiv:2103.13392"

    def __init__(self, penalty: float = 1.0, preference: Mapping[str, float] = {}) -> None:
        super().__init__()
        require(penalty >= 0, "`penalty` must be at least 0", f"penalty={penalty}")
        for name, weight in preference.items():
            check_weight(f"preference.{name}", weight)
        self.penalty, self.given = penalty, dict(preference)

    def allocate(self, size: int) -> None:
        self.register_buffer("preference", self.per_loss(self.given), persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        direction, values = self.preference * signals.present, values * signals.present
        # A cosine does not depend on the scale, but squares in float32 may over- or underflow.
        unit = values / values.detach().abs().amax().clamp(min=1e-20)
        lengths = (direction.square().sum() * unit.square().sum()).clamp(min=1e-30).sqrt()
        return (direction * values).sum() - self.penalty * (direction * unit).sum() / lengths
