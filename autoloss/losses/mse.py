"""Mean squared error."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import same_shape


class Mse(Loss):
    """The squared error ``(prediction - target)^2``, mean over everything but the samples: [B, ...] -> [B]."""

    use = "Regression with errors that are roughly normally distributed."
    avoid = "There are outliers: an error ten times as large costs a hundred times as much (huber)."
    outliers = "They dominate: one error of 10 costs as much as a hundred errors of 1."
    imbalance = "It predicts the conditional mean; rare values are predicted too near to the frequent ones."
    gradients = "Proportional to the error: large at first, vanishing near the target."
    squares = True
    citation = "folklore (least squares)"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        return per_sample(functional.mse_loss(prediction, target, reduction="none"))
