"""R2: the discriminator's slope at generated samples."""

from __future__ import annotations

from torch import Tensor

from autoloss.losses.r1 import R1


class R2(R1):
    """``gamma / 2 ||grad_y D(y)||^2`` at generated samples y -> [B] (eq. 10).

    Args:
        gamma: at least 0.
        every: the discriminator's steps between two measurements, at least 1.
    """

    use = "Beside r1, with relativistic (R3GAN)."
    avoid = "It would be the only penalty: early samples say little about where the discriminator should be flat."
    outliers = "A generated sample where the discriminator is very steep costs the square of its slope."
    imbalance = "It measures at generated samples: lost modes are not among them."
    gradients = "Second derivatives of the discriminator; they flatten it at generated samples."
    citation = "Mescheder, Geiger, Nowozin: Which training methods for GANs do converge?, ICML 2018, arXiv:1801.04406"

    def __init__(self, gamma: float = 1.0, every: int = 1) -> None:
        super().__init__(gamma, every)

    def inputs(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.detach().requires_grad_()
