"""A number within bounds whose gradient does not end there."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def bounded(x: Tensor, low: float | Tensor, high: float = math.inf) -> Tensor:
    """``x`` within [low, high], with the gradient of ``x``: that of a clamp is 0 outside, and nothing could come back.

    >>> x = torch.tensor([-3.0, 0.5], requires_grad=True)
    >>> bounded(x, -1.0).sum().backward()
    >>> x.grad
    tensor([1., 1.])
    """
    largest = torch.finfo(x.dtype).max
    finite = x.clamp(-largest, largest)
    kept = finite - finite.detach()
    if isinstance(low, Tensor):  # with a gradient of its own
        return torch.where(finite < low, low, finite.clamp(max=high).detach()) + kept
    return finite.clamp(low, high).detach() + kept
