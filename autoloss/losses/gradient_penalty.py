"""The gradient penalty of WGAN-GP."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.gan.adversarial_loss import InputPenalty
from autoloss.losses._shapes import same_shape
from autoloss.losses._slope import squared_slope

TINY = 1e-12


class GradientPenalty(InputPenalty):
    """``strength (||grad_u D(u)|| - target)^2`` at ``u = e x + (1 - e) y``, e uniform for each sample -> [B] (eq. 3).

    Args:
        strength: lambda, at least 0.
        target: the slope that the discriminator should have, at least 0.
        every: the discriminator's steps between two measurements, at least 1.

    The root is taken of ``||.||^2 + 1e-12``, since a root has no derivative at 0.
    """

    use = "With wasserstein, as in WGAN-GP."
    avoid = "Samples change each other's logits (batch normalisation); cost matters (r1, every=16)."
    outliers = "A sample where the discriminator is very steep costs the square of its slope."
    imbalance = "It measures between real and generated samples, wherever those are."
    gradients = "Second derivatives of the discriminator; they bring its slope to the target from both sides."
    citation = "Gulrajani et al.: Improved training of Wasserstein GANs, NeurIPS 2017, arXiv:1704.00028"

    def __init__(self, strength: float = 10.0, target: float = 1.0, every: int = 1) -> None:
        super().__init__(every)
        require(strength >= 0, "`strength` must be at least 0", f"strength={strength}")
        require(target >= 0, "`target` must be at least 0", f"target={target}")
        self.strength, self.target = strength, target

    def inputs(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real.detach(), fake.detach())
        share = torch.rand(len(real), *[1] * (real.dim() - 1), device=real.device, dtype=real.dtype)
        return torch.lerp(fake, real, share).requires_grad_()

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.strength * ((squared_slope(prediction, target) + TINY).sqrt() - self.target).square()
