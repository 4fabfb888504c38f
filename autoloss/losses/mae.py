"""Mean absolute error."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import same_shape


class Mae(Loss):
    """The absolute error ``|prediction - target|``, mean over everything but the samples: [B, ...] -> [B]."""

    use = "Regression with outliers; predicts the median."
    avoid = "Fine convergence near 0 matters: the gradient never shrinks (smooth_l1)."
    outliers = "They pull no harder than any other sample."
    imbalance = "It predicts the conditional median: never a value that fewer than half of the samples have."
    gradients = "Of magnitude 1 wherever there is an error: they do not say how near the target is."
    citation = "folklore (least absolute deviations)"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        return per_sample((prediction - target).abs())
