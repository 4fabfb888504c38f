"""The logarithm of the hyperbolic cosine."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape


class LogCosh(Loss):
    """``scale^2 log cosh(e / scale)``, mean over everything but the samples: [B, ...] -> [B].

    About ``e^2 / 2`` below the scale and ``scale |e| - scale^2 log 2`` above: as huber, with all derivatives.

    Args:
        scale: the error at which the parabola becomes a line, above 0, in the target's units.
    """

    search_space = {"scale": Interval(0.01, 10.0, log=True)}
    use = "Huber where a second derivative is wanted (boosting, Newton's method, PDE residuals)."
    avoid = "The scale of errors is unknown and `scale` is left at 1."
    outliers = "Their gradient is at most `scale`."
    imbalance = "Between mean (errors below the scale) and median (above)."
    gradients = "scale tanh(e / scale): smooth everywhere, bounded by the scale."
    citation = "folklore"

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        require(scale > 0, "`scale` must be above 0", f"scale={scale}")
        self.scale = scale

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        size = ((prediction - target) / self.scale).abs()
        # cosh overflows, and log(1 + e^-2x) - log 2 would cancel for small x.
        rest = torch.where(size < 1, (torch.expm1(-2 * size) / 2).log1p(), (-2 * size).exp().log1p() - math.log(2))
        return per_sample(self.scale**2 * (size + rest))
