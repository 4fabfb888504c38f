"""Optimisers of the members that are called one by one, for all kinds that have no stacked form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from autoloss.training.fleet.optimizers import Numbers, StackedOptimizer
from autoloss.training.fleet.stacked import UnlikeError

KNOWN = "SGD, Adam or AdamW with one group of parameters"


class OwnOptimizers(StackedOptimizer):
    """Steps each member's own optimiser on its own parameters, which are views of the stacked ones.

    So it may be of any kind and have several groups of parameters. Only the step costs what it costs alone.
    """

    numbers, settings, saved = (), (), {}

    def at_once(
        self, parameters: list[Tensor], gradients: list[Tensor], states: list[dict[str, Tensor]], numbers: Any
    ) -> None:
        for m, (optimizer, own) in enumerate(zip(self.optimizers, self.own, strict=True)):
            for mine, parameter in zip(own, self.parameters, strict=True):
                mine.grad = None if parameter.grad is None else parameter.grad[m]
            optimizer.step()
            for mine in own:
                mine.grad = None

    def change(self, parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], numbers: Numbers) -> None:
        raise UnlikeError(
            f"A member that makes no step where its batch is left out must be trained by {KNOWN}, but it has "
            f"{type(self.optimizers[0]).__name__}. It is trained alone."
        )

    def slope(
        self,
        place: int,
        members: Tensor,
        read: Sequence[Mapping[str, float]],
        gradient: Tensor,
        before: Tensor,
        first: bool,
    ) -> Tensor:
        raise UnlikeError(
            f"The derivative of a step must be known in a fleet, but it is for {KNOWN} alone, and a member has "
            f"{type(self.optimizers[0]).__name__}. It is trained alone."
        )
