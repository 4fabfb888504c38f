"""Adversarial losses of a GAN, and penalties on the gradient of the discriminator with respect to its input."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss


class AdversarialLoss(Loss):
    """The generator's loss and the discriminator's loss of a GAN, in one component.

    Calling it gives the generator's loss, :meth:`discriminator` the discriminator's loss. ``sees_real`` says whether
    the generator's loss uses the logits of real samples too; if it does not, they are not computed for it.
    """

    takes = ("game",)
    sees_real: ClassVar[bool] = False

    @abstractmethod
    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        """The generator's loss of each sample, [B], from logits [B, ...] of generated (and of real) samples."""

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """The discriminator's loss of each pair, [B], from its logits [B, ...] of ``real`` and of generated samples."""


class InputPenalty(Loss):
    """A penalty on the gradient of the discriminator with respect to its input.

    Called with logits [B, ...] and the inputs [B, ...] that they were computed from, it gives one value for each
    sample, [B], whose graph reaches the discriminator's parameters. The logits of one sample must not depend on other
    samples (no batch normalisation in the discriminator). The penalty is measured at one of ``every`` discriminator
    steps, and training then multiplies it by ``every``.
    """

    takes = ("judged",)
    widened = False  # of a copy the inputs would have no gradient

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        require(every >= 1, "`every` must be at least 1", f"every={every}")
        self.every = every

    @abstractmethod
    def inputs(self, real: Tensor, fake: Tensor) -> Tensor:
        """The inputs [B, ...] to measure at, made from real and generated samples: a leaf that requires gradients."""
