"""The negative log-likelihood of a normal distribution that is predicted with its variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.losses._bounded import bounded
from autoloss.losses._shapes import halves, same_shape


class GaussianNll(Loss):
    """``(s + (y - m)^2 e^-s) / 2`` of means m and log-variances s: [B, 2D, ...] against y [B, D, ...] -> [B].

    The prediction holds the means in the first half of its second dimension and the logarithms of
    the variances in the other. For a single number: [B, 2] against [B]. The constant ``log(2 pi) / 2``
    is left out, and the loss may be negative.

    Args:
        smallest: the smallest variance, above 0, in the target's units squared. A smaller one counts as this one; its
            logarithm has the gradient there if the error asks for more, and 0 otherwise.

    torch takes the variance itself and checks that it is not negative, which waits for the device.
    """

    takes = ("normal",)
    use = "Regression that says how sure it is; noise that differs from sample to sample."
    avoid = "Training has just begun: a large variance explains a mean that is far off, which then stays (warm it up)."
    outliers = "A large variance explains them, and their gradient is divided by it."
    imbalance = "Samples that are hard to predict count less, rare ones among them."
    gradients = "With respect to the mean: the error over the variance. They vanish where the variance is large."
    citation = "Nix, Weigend: Estimating the mean and variance of the target probability distribution, ICNN 1994"

    def __init__(self, smallest: float = 1e-6) -> None:
        super().__init__()
        require(smallest > 0, "`smallest` must be above 0", f"smallest={smallest}")
        self.smallest = smallest

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        mean, log_variance = halves(prediction, "A prediction of gaussian_nll")
        if target.dim() == mean.dim() - 1 and mean.shape[1] == 1:
            mean, log_variance = mean.squeeze(1), log_variance.squeeze(1)
        mean, target = same_shape(mean, target)
        squared, log_variance = (target - mean).square(), self._bounded(log_variance.to(mean.dtype), target - mean)
        return per_sample(0.5 * (log_variance + squared * (-log_variance).exp()))

    def _bounded(self, log_variance: Tensor, error: Tensor) -> Tensor:
        """The log-variance, or the least; a clamp would end the gradient, and what is below could never come back."""
        smallest = self.smallest
        least = smallest.log().to(error) if isinstance(smallest, Tensor) else math.log(smallest)
        asks = error.detach().square() > smallest
        return torch.where(asks | (log_variance >= least), bounded(log_variance, least), least)
