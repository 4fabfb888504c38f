"""Mean squared error."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import same_shape


class Mse(Loss):
    """The squared error ``(prediction - target)^2``, mean over everything but the samples: [B, ...] -> [B]."""

    use = "Regression with errors that are roughly normal."
    avoid = "Outliers: an error ten times as large pulls a hundred times as hard (huber)."
    outliers = "Dominate: one error of 10 counts as much as a hundred of 1."
    imbalance = "Predicts the conditional mean; rare values are drawn to the frequent ones."
    gradients = "Proportional to the error: large at first, vanishing near the target."
    citation = "folklore (least squares)"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        return per_sample((prediction - target).square())
