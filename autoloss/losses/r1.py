"""R1: the discriminator's slope at real samples."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.gan.adversarial_loss import InputPenalty
from autoloss.core.space import Interval
from autoloss.losses._slope import squared_slope


class R1(InputPenalty):
    """``gamma / 2 ||grad_x D(x)||^2`` at real samples x -> [B] (eq. 9).

    Args:
        gamma: at least 0; grows with the size of a sample (StyleGAN2-ADA: 0.0002 resolution^2 / batch).
        every: the discriminator's steps between two measurements, at least 1; 16 in StyleGAN2.
    """

    search_space = {"gamma": Interval(0.01, 100.0, log=True)}
    use = "With non_saturating or relativistic: the cheapest penalty under which a GAN converges."
    avoid = "Samples change each other's logits (batch normalisation)."
    outliers = "A real sample where the discriminator is very steep costs the square of its slope."
    imbalance = "It measures at real samples, in proportion to the data."
    gradients = "Second derivatives of the discriminator; they flatten it at the data."
    citation = "Mescheder, Geiger, Nowozin: Which training methods for GANs do converge?, ICML 2018, arXiv:1801.04406"

    def __init__(self, gamma: float = 1.0, every: int = 1) -> None:
        super().__init__(every)
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        self.gamma = gamma

    def inputs(self, real: Tensor, fake: Tensor) -> Tensor:
        return real.detach().requires_grad_()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.gamma / 2 * squared_slope(prediction, target)
