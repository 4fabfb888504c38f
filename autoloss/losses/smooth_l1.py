"""Smooth L1, in the epsilon form."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._bent import bent
from autoloss.losses._shapes import same_shape


class SmoothL1(Loss):
    """``e^2 / (2 eps)`` for ``|e| < eps``, else ``|e| - eps / 2``: [B, ...] -> [B].

    As eps goes to 0 this is mae; its slope is at most 1, whatever eps is.

    Args:
        eps: where the parabola becomes a line, at least 0, in the target's units (torch: ``beta``).
    """

    search_space = {"eps": Interval(0.01, 10.0, log=True)}
    use = "Boxes, keypoints, depth: mae, with a gradient that goes to 0 at the target."
    avoid = "Errors are far smaller than eps: it is then mse / (2 eps), with vanishing gradients."
    outliers = "Their gradient is at most 1, whatever eps is."
    imbalance = "Beyond eps as mae (the median), within it as mse (the mean)."
    gradients = "Of magnitude 1 beyond eps, and shrinking linearly to 0 within it."
    citation = "Girshick: Fast R-CNN, ICCV 2015, arXiv:1504.08083"

    def __init__(self, eps: float = 1.0) -> None:
        super().__init__()
        require(eps >= 0, "`eps` must be at least 0", f"eps={eps}")
        self.eps = eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        if isinstance(self.eps, Tensor):
            return per_sample(bent(prediction, target, self.eps) / self.eps)
        return per_sample(functional.smooth_l1_loss(prediction, target, reduction="none", beta=self.eps))
