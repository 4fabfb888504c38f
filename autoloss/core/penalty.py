"""Penalties: a cost of the parameters themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from autoloss._moved import moved_name
from autoloss.core.schedules.progressive import Progressive

__getattr__ = partial(moved_name, "core.penalty")  # `precise` of 0.1.0


class Penalty(Progressive, ABC):
    """Turns parameters into one number of at least 0, which training adds to the losses.

    ``penalties.orthogonality.factor=0.01`` adds one for all weight matrices;
    :class:`autoloss.training.step.penalties.Penalties` chooses the parameters.
    """

    @abstractmethod
    def forward(self, parameters: Sequence[Tensor]) -> Tensor:
        """The penalty, a scalar, of ``parameters`` of any shapes; in float32 at least."""


def at_least_float32(parameters: Sequence[Tensor]) -> list[Tensor]:
    """``parameters`` in float32 at least: half precision is too coarse for a sum of many squares."""
    return [p if p.dtype == torch.float64 else p.float() for p in parameters]
