"""The error that is squared near 0 and a line beyond, with a width that has a gradient."""

from __future__ import annotations

import torch
from torch import Tensor


def bent(prediction: Tensor, target: Tensor, width: Tensor) -> Tensor:
    """``e^2 / 2`` within the ``width`` (a scalar above 0), ``width (|e| - width / 2)`` beyond it: [B, ...] -> [B, ...].

    It is :func:`torch.nn.functional.huber_loss`, which takes no tensor for its width.
    """
    error = (prediction - target).abs()
    return torch.where(error <= width, error.square() / 2, width * (error - width / 2))
