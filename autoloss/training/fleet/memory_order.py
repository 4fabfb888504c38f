"""How stacked tensors lie in memory."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def stack(tensors: Sequence[Tensor], trained: bool) -> Tensor:
    """``tensors`` as one. Matrices that are ``trained`` lie in memory as the gradients of linear layers come.

    These need no copy then. Other tensors keep their order in memory, and with it the order in which sums are taken.
    """
    if not trained or tensors[0].dim() != 2:
        return torch.stack(list(tensors))
    return torch.stack([tensor.mT for tensor in tensors]).mT


def in_memory_order(tensor: Tensor) -> Tensor:
    """``tensor``, or stacked matrices turned as they lie in memory."""
    return tensor if tensor.is_contiguous() or tensor.dim() != 3 else tensor.mT


def chosen_of(tensor: Tensor, members: Tensor) -> Tensor:
    """The parts of ``members`` of a stacked ``tensor``, which lie in memory as it does."""
    members = members.to(tensor.device)
    return tensor[members] if tensor.is_contiguous() or tensor.dim() != 3 else tensor.mT[members].mT
