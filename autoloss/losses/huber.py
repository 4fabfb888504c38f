"""Huber's loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._bent import bent
from autoloss.losses._shapes import same_shape


class Huber(Loss):
    """``e^2 / 2`` for ``|e| < delta``, else ``delta (|e| - delta / 2)``: [B, ...] -> [B].

    ``huber(delta) = delta * smooth_l1(eps=delta)``.

    Args:
        delta: where the parabola becomes a line, above 0, in the target's units.
    """

    search_space = {"delta": Interval(0.01, 10.0, log=True)}
    use = "Regression with some outliers, at a known scale of ordinary errors."
    avoid = "The scale of errors is unknown and delta is left at 1."
    outliers = "Their gradient is at most delta: beyond it the loss is a line."
    imbalance = "Between mean and median: as mse among errors below delta, as mae among those above."
    gradients = "The error itself, clipped to [-delta, delta]."
    citation = "Huber: Robust estimation of a location parameter, Ann. Math. Stat. 1964"

    def __init__(self, delta: float = 1.0) -> None:
        super().__init__()
        require(delta > 0, "`delta` must be above 0", f"delta={delta}")
        self.delta = delta

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        if isinstance(self.delta, Tensor):
            return per_sample(bent(prediction, target, self.delta))
        return per_sample(functional.huber_loss(prediction, target, reduction="none", delta=self.delta))
