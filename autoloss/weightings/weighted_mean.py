"""The weighted mean of the losses."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class WeightedMean(Scalarization):
    """Gives each loss its share of given weights: ``S = sum_k a_k L_k / sum_k a_k``, ``w_k = a_k / sum_j a_j``.

    The sum runs over the present losses, so the share of an absent one goes to the others.

    Args:
        weights: a by loss name, each at least 0; a loss that is not named has 1.

    Raises :class:`ConfigError` where no loss has a weight above 0.
    """

    weights: Tensor
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    use = "Weights of which only the proportions are given, and whose sum stays 1."
    avoid = "You compare with methods whose weights sum to K under SGD: the learning rate differs by K."
    citation = "folklore"

    def __init__(self, weights: Mapping[str, float] = {}) -> None:
        super().__init__()
        for name, weight in weights.items():
            check_weight(f"weights.{name}", weight)
        self.given = dict(weights)

    def allocate(self, size: int) -> None:
        weights = self.per_loss(self.given)
        require(weights.sum().item() > 0, "At least one weight must be above 0", f"weights={self.given}")
        self.register_buffer("weights", weights, persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        weights = self.weights * signals.present
        # Without the floor, a batch with losses of weight 0 only would divide 0 by 0.
        return (weights * values).sum() / weights.sum().clamp(min=1e-30)
