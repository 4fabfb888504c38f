"""Losses of a game: what a discriminator says of real and generated samples, and how hard it leans."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss


class AdversarialLoss(Loss):
    """One game with two sides: called as a loss it is the generator's, :meth:`discriminator` is the other one's.

    ``sees_real`` says whether the generator's side looks at the real samples too; where it does not,
    nobody has to compute their logits for it.
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
    """A penalty on the gradient of the discriminator at its input.

    Called with logits [B, ...] and the inputs [B, ...] that they were computed from, it gives one
    value for each sample, with a graph for the discriminator's parameters; samples must not meet
    in the discriminator (no batch normalisation). ``every`` is the number of the discriminator's
    steps between two of which it is measured; training multiplies it by that number then.
    """

    takes = ("judged",)

    def __init__(self, every: int = 1) -> None:
        super().__init__()
        require(every >= 1, "`every` must be at least 1", f"every={every}")
        self.every = every

    @abstractmethod
    def inputs(self, real: Tensor, fake: Tensor) -> Tensor:
        """Where to look, [B, ...], of real and generated samples: a leaf that asks for gradients."""
