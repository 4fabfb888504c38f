"""Random predictions and targets of the usual shapes, for the suite of losses."""

from __future__ import annotations

import torch
from torch import Tensor

Sample = tuple[Tensor, Tensor]


def regression(batch: int, *shape: int) -> Sample:
    """Predictions and targets [B, *shape], an error of about 1."""
    return torch.randn(batch, *shape), torch.randn(batch, *shape)


def classes(batch: int, number: int = 5, *shape: int) -> Sample:
    """Logits [B, C, *shape] and the indices of the true classes [B, *shape]."""
    return 2 * torch.randn(batch, number, *shape), torch.randint(number, (batch, *shape))


def binary(batch: int, *shape: int) -> Sample:
    """Logits and targets in {0, 1} (integers), both [B, *shape]."""
    return 2 * torch.randn(batch, *shape), torch.randint(2, (batch, *shape))
