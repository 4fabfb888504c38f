"""The entropy of a predicted distribution, to be made small where there are no labels."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import several_classes


class Entropy(Loss):
    """``-sum_c p_c log p_c`` of ``p = softmax(prediction)``, from 0 to log C: [B, C, ...] -> [B].

    Sum over classes, mean over the rest; the target is not used. Ramp it up
    (``weighting=scheduled weighting.schedules.NAME=rampup(1,0.3)``): at first the network may be sure of wrong classes.
    """

    takes = ("logits",)
    use = "Samples without labels: decision boundaries move to where there are few of them."
    avoid = "There are few labels and no other term: all samples fall into one class. Classes overlap."
    outliers = "A sample between classes is pushed to the nearer one."
    imbalance = "It favours the class that is predicted most; balance the predictions if they become one class."
    gradients = "0 at a uniform and at a certain prediction; elsewhere a step raises the most probable class."
    citation = "Grandvalet, Bengio: Semi-supervised learning by entropy minimization, NeurIPS 2004"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        logarithm = prediction.log_softmax(1)
        return per_sample(-(logarithm.exp() * logarithm).sum(1))
