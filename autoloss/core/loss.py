"""Losses: one value for each sample, and never a reduction."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable

from torch import Tensor, nn

from autoloss.core.component import Component
from autoloss.core.errors import ConfigError


class Loss(Component, nn.Module, ABC):
    """Compares a prediction with a target and gives one value for each sample.

    The mean over samples, masks and ranks is taken once, elsewhere
    (:meth:`autoloss.core.table.LossTable.reduced`), where it can be taken exactly.
    """

    @abstractmethod
    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, [B]; ``prediction`` and ``target`` have B as their first dimension."""


class FunctionLoss(Loss):
    """A plain function ``(prediction, target) -> [B]`` of the user's, as a loss."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        try:
            inspect.signature(function).bind(None, None)
        except TypeError as error:
            raise ConfigError(
                f"A loss function must take (prediction, target), but {function!r} does not: {error}."
            ) from error
        self.function = function

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.function(prediction, target)


def per_sample(values: Tensor) -> Tensor:
    """The mean of ``values`` [B, ...] over everything but the samples, [B].

    >>> import torch
    >>> per_sample(torch.tensor([[1.0, 3.0], [2.0, 2.0]]))
    tensor([2., 2.])
    """
    return values.flatten(1).mean(1) if values.dim() > 1 else values
