"""The negative log-likelihood of counts."""

from __future__ import annotations

import math

from torch import Tensor

from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import same_shape

STEEPEST = 30.0  # e^30 events: above any real count


class Poisson(Loss):
    """``e^z - y z`` of the log rate z and the count y, mean over everything but the samples: [B, ...] -> [B].

    The term ``log y!`` is left out, as in torch: it has no gradient, and the loss may be negative.
    Beyond z = 30 the exponential is continued by its tangent, which cannot overflow.
    """

    takes = ("counts",)
    use = "Counts of independent events: visits, photons, claims. The prediction is the logarithm of the rate."
    avoid = "Counts vary more than their mean (fit a dispersion). The weighting needs positive losses."
    outliers = "A large count costs linearly; the model expects a variance equal to the rate."
    imbalance = "Zeros may be frequent: that is what small rates mean."
    gradients = "Rate minus count; they grow exponentially in z where the rate is far too high."
    citation = "folklore (Poisson regression)"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        self.notices.forbid("Counts must be at least 0", ~(target >= 0), target)
        rate = prediction.clamp(max=STEEPEST).exp() + math.exp(STEEPEST) * (prediction - STEEPEST).clamp(min=0)
        return per_sample(rate - target * prediction)
