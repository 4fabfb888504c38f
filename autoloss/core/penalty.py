"""Penalties: a cost of the parameters themselves."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.schedules.progressive import Progressive


class Penalty(Progressive, ABC):
    """Turns parameters into one number of at least 0, which training adds to the losses.

    ``penalties.orthogonality.factor=0.01`` adds one for all weight matrices;
    :class:`autoloss.training.step.penalties.Penalties` chooses the parameters.
    """

    @abstractmethod
    def forward(self, parameters: Sequence[Tensor]) -> Tensor:
        """The penalty, a scalar, of ``parameters`` of any shapes; in float32 at least."""


def precise(parameters: Sequence[Tensor]) -> list[Tensor]:
    """``parameters`` in float32 at least: half precision is too coarse for a sum of many squares."""
    return [p if p.dtype == torch.float64 else p.float() for p in parameters]
