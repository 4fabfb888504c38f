"""Smooth L2: the rule of smooth L1 for the length of an error vector."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._shapes import flat, same_shape


class SmoothL2(Loss):
    """``r^2 / (2 eps)`` for ``r < eps``, else ``r - eps / 2``, of the error's length ``r = ||e||_2``: [B, ...] -> [B].

    The name has no settled meaning. This is our definition: the Euclidean norm (not squared) of a
    sample's whole error vector, made differentiable at 0 as smooth L1 does with the absolute value;
    for one number it is smooth L1. Another candidate, ``sqrt(r^2 + eps^2) - eps``, is Charbonnier's
    loss: adaptive_robust with alpha = 1. One tutorial prints ``e^2 / 2`` for both branches: half of mse.

    Args:
        eps: the length below which the norm becomes a parabola, above 0, in the target's units.
    """

    search_space = {"eps": Interval(0.01, 10.0, log=True)}
    use = "Vectors whose error counts by its length: positions, flow, forces; it does not depend on the axes."
    avoid = "Entries are unrelated quantities: one large error takes the whole vector's gradient (smooth_l1)."
    outliers = "A sample's gradient has a norm of at most 1; within a sample the largest error dominates."
    imbalance = "It predicts the spatial median of vectors: robust, but it ignores a minority below half."
    gradients = "A unit vector along the error beyond eps, shrinking linearly to 0 within it."
    citation = "Ours; after Girshick: Fast R-CNN, ICCV 2015, arXiv:1504.08083"

    def __init__(self, eps: float = 1.0) -> None:
        super().__init__()
        require(eps > 0, "`eps` must be above 0", f"eps={eps}")
        self.eps = eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        length = torch.linalg.vector_norm(flat(prediction - target), dim=1)
        # Only lengths below eps are squared: the square of a long one overflows.
        return torch.where(length < self.eps, length.clamp(max=self.eps) ** 2 / (2 * self.eps), length - self.eps / 2)
