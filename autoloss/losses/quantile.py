"""The quantile (pinball) loss."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape


class Quantile(Loss):
    """``max(q u, (q - 1) u)`` of ``u = target - prediction``, mean over everything but the samples: [B, ...] -> [B].

    Args:
        q: the quantile to predict, in (0, 1); 0.5 is mae / 2.
    """

    search_space = {"q": Interval(0.05, 0.95)}
    use = "Bounds: a share q of the targets lies below the prediction."
    avoid = "The mean is wanted (mse). Few samples lie beyond the quantile: it is then noise."
    outliers = "They pull no harder than any other sample, however far out they are."
    imbalance = "q weighs the sides: with q = 0.9 a prediction that is too low costs nine times one that is too high."
    gradients = "Of magnitude q or 1 - q wherever there is an error."
    citation = "Koenker, Bassett: Regression quantiles, Econometrica 1978"

    def __init__(self, q: float = 0.5) -> None:
        super().__init__()
        require(0 < q < 1, "`q` must lie in (0, 1)", f"q={q}")
        self.q = q

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        short = target - prediction
        return per_sample(torch.maximum(self.q * short, (self.q - 1) * short))
