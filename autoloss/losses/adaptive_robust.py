"""Barron's general and adaptive robust loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape


class AdaptiveRobust(Loss):
    """``rho = b/alpha ((z^2/b + 1)^(alpha/2) - 1)``, ``b = |alpha - 2|``, ``z = e / scale``: [B, ...] -> [B].

    (Barron, eq. 8 and its limits.) alpha = 2 is half the squared error, 1 Charbonnier's loss, 0
    Cauchy's, -2 Geman and McClure's, and -infinity Welsch's: the smaller, the less an outlier counts.
    A schedule from 2 downwards is graduated non-convexity. Mean over everything but the samples.

    Args:
        alpha: the shape, any number but NaN (``-inf`` too).
        scale: the size of ordinary errors, above 0, in the target's units.

    >>> AdaptiveRobust(alpha=0.0)(torch.tensor([2.0]), torch.tensor([0.0]))  # log(2^2 / 2 + 1)
    tensor([1.0986])

    Here the shape is given, scheduled or searched. The adaptive form, which learns it, needs the
    distribution's normalisation; without it alpha falls until nothing counts.
    """

    search_space = {"alpha": Interval(-2.0, 2.0), "scale": Interval(0.01, 10.0, log=True)}
    use = "Many outliers, of unknown kind: search alpha, or let it fall by a schedule."
    avoid = "Alpha below 1 from the first step on: samples that are far off at the start are given up."
    outliers = "alpha says: linear at 1, logarithmic at 0, and for alpha < 0 they count as a constant and pull with 0."
    imbalance = "With alpha below 1 it predicts a mode: minorities are outliers to it."
    gradients = "e / scale^2 near the target; beyond the scale they fall off for alpha < 1."
    citation = "Barron: A general and adaptive robust loss function, CVPR 2019, arXiv:1701.03077"

    def __init__(self, alpha: float = 1.0, scale: float = 1.0) -> None:
        super().__init__()
        require(not math.isnan(alpha), "`alpha` must be a number", f"alpha={alpha}")
        require(scale > 0, "`scale` must be above 0", f"scale={scale}")
        self.alpha, self.scale = alpha, scale

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        return per_sample(self._rho(((prediction - target) / self.scale).square()))

    def _rho(self, squared: Tensor) -> Tensor:
        alpha = self.alpha
        if alpha == -math.inf:
            return -torch.expm1(-squared / 2)
        between = abs(alpha - 2)
        if between < 1e-4:  # the limit; the difference is below float32's rounding
            return squared / 2
        grown = (squared / between).log1p()
        if abs(alpha) < 1e-6:
            return grown * between / 2
        return between / alpha * torch.expm1(alpha / 2 * grown)
