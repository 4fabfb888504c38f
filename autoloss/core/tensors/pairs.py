"""Gradients as real numbers: a complex coordinate counts as the pair of its real and its imaginary part."""

from __future__ import annotations

import torch
from torch import Tensor


def size_of(tensor: Tensor) -> int:
    """How many real numbers ``tensor`` holds."""
    return tensor.numel() * (2 if tensor.is_complex() else 1)


def real(tensor: Tensor) -> Tensor:
    """``tensor`` itself, or the pairs [..., 2] of a complex one."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def flat(tensor: Tensor) -> Tensor:
    """All real numbers of ``tensor``, which may be sparse, in one dimension.

    >>> flat(torch.tensor([1 + 2j, 3 + 4j]))
    tensor([1., 2., 3., 4.])
    """
    dense = tensor if tensor.layout == torch.strided else tensor.to_dense()
    return real(dense).reshape(-1)


def shaped(values: Tensor, like: Tensor) -> Tensor:
    """``values``, real numbers as :func:`flat` gives them, in the shape and the dtype of ``like``."""
    if not like.is_complex():
        return values.reshape(like.shape).to(like.dtype)
    return torch.view_as_complex(values.reshape(*like.shape, 2).contiguous()).to(like.dtype)
