"""Barron's general and adaptive robust loss."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.registry.parameters import Unbounded
from autoloss.core.space import Interval
from autoloss.losses._bounded import bounded
from autoloss.losses._shapes import same_shape

NODES = 1000  # of the quadrature: a relative error below 4e-5 for every shape in (0, 2), and below 1e-7 from 0.1 on


class AdaptiveRobust(Loss):
    """``rho = b/alpha ((z^2/b + 1)^(alpha/2) - 1)``, ``b = |alpha - 2|``, ``z = e / scale``: [B, ...] -> [B].

    (Barron, eq. 8 and its limits.) alpha = 2 is half the squared error, 1 Charbonnier's loss, 0
    Cauchy's, -2 Geman and McClure's, and -infinity Welsch's: the smaller alpha, the less an outlier counts.
    A schedule from 2 downwards is graduated non-convexity. Mean over everything but the samples.

    With ``learn`` alpha and scale are parameters that the optimiser trains (leave them out of weight
    decay), and the loss is the negative log-likelihood ``rho + log(scale Z(alpha))`` (eq. 16): without
    ``Z(alpha) = int exp(-rho(x, alpha, 1)) dx`` alpha would fall until no error counts. This loss may be negative.

    Args:
        alpha: the shape, any number (``-inf`` too); with ``learn`` the value that it starts at, in (0, 2).
        scale: the size of ordinary errors, above 0, in the target's units.
        learn: whether alpha and scale are learned.

    >>> AdaptiveRobust(alpha=0.0)(torch.tensor([2.0]), torch.tensor([0.0]))  # log(2^2 / 2 + 1)
    tensor([1.0986])

    The paper reads Z from a spline; here it is integrated, by the midpoint rule after x = sqrt(2) tan(t).
    """

    search_space = {"alpha": Interval(-2.0, 2.0), "scale": Interval(0.01, 10.0, log=True)}
    use = "Many outliers, of unknown kind: learn or search alpha, or let it fall by a schedule."
    avoid = "Training starts with alpha below 1: it hardly fits samples that are far off at the start."
    outliers = "alpha decides: they cost linearly at 1, logarithmically at 0, and at most a constant below 0."
    imbalance = "With alpha below 1 it predicts a mode: it treats minorities as outliers."
    gradients = "e / scale^2 near the target; for alpha < 1 they shrink beyond the scale."
    citation = "Barron: A general and adaptive robust loss function, CVPR 2019, arXiv:1701.03077"

    def __init__(self, alpha: Unbounded = 1.0, scale: float = 1.0, learn: bool = False) -> None:
        super().__init__()
        require(alpha < math.inf, "`alpha` must be a number below infinity", f"alpha={alpha}")
        require(scale > 0, "`scale` must be above 0", f"scale={scale}")
        require(not learn or 0 < alpha < 2, "`alpha` must lie in (0, 2) to be learned", f"alpha={alpha}")
        self.alpha, self.scale, self.learn = alpha, scale, learn
        if learn:
            self.shape = nn.Parameter(torch.tensor(math.log(alpha / (2 - alpha))))
            self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        error = prediction - target
        if not self.learn:
            return per_sample(_rho((error / self.scale).square(), self.alpha))
        error = error if error.dtype == torch.float64 else error.float()
        # Kept away from 0 and 2, where the formula exists as a limit only.
        alpha = bounded(2 * self.shape.to(error.dtype).sigmoid(), 1e-3, 2 - 1e-3)
        log_scale = self.log_scale.to(error.dtype)
        rho = _curved((error / log_scale.exp()).square(), alpha, 2 - alpha)
        return per_sample(rho + log_scale + log_partition(alpha))


def log_partition(alpha: Tensor) -> Tensor:
    """``log Z(alpha)`` of a shape (a scalar tensor in (0, 2)), with a gradient."""
    step = math.pi / 2 / NODES
    squared = 2 * ((torch.arange(NODES, device=alpha.device, dtype=alpha.dtype) + 0.5) * step).tan().square()
    # dx = sqrt(2) (1 + tan^2 t) dt, twice for both sides.
    density = (-_curved(squared, alpha, 2 - alpha)).exp() * (1 + squared / 2)
    return (2 * math.sqrt(2) * step * density.sum()).log()


def _rho(squared: Tensor, alpha: float) -> Tensor:
    if alpha == -math.inf:
        return -torch.expm1(-squared / 2)
    between = abs(alpha - 2)
    if between < 1e-12:  # the limit; the difference is below float32's rounding
        return squared / 2
    if between < 1e-4:  # _curved without the difference of two numbers that are nearly z^2 / b
        correction = torch.expm1((alpha / 2 - 1) * (squared / between).log1p())
        return (squared + (squared + between) * correction) / alpha
    if abs(alpha) < 1e-12:
        return (squared / between).log1p() * between / 2
    return _curved(squared, alpha, between)


def _curved(squared: Tensor, alpha: float | Tensor, between: float | Tensor) -> Tensor:
    return between / alpha * torch.expm1(alpha / 2 * (squared / between).log1p())
