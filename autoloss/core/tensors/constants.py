"""Small constant tensors, made once for each device."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
def constant(values: tuple[float, ...], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """``values`` as a tensor [K] on ``device``. All callers share it: never write to it.

    Making a tensor on an accelerator from Python numbers waits for the device, which a step must not do. A backward may
    save it.
    """
    with torch.inference_mode(False):
        return torch.tensor(values, dtype=dtype, device=device)


def row(numbers: Sequence[float | Tensor] | Tensor, like: Tensor) -> Tensor:
    """``numbers`` as a tensor [K] in the dtype and on the device of ``like``; those that are tensors keep their graph.

    All callers share what is made of plain numbers: never write to it.
    """
    if isinstance(numbers, Tensor):
        return numbers.to(like)
    if any(isinstance(one, Tensor) for one in numbers):
        return torch.stack([one.to(like) if isinstance(one, Tensor) else like.new_full((), one) for one in numbers])
    return constant(tuple(map(float, numbers)), like.device, like.dtype)


@lru_cache(maxsize=256)
def number(value: float, device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
    """``value`` as a tensor without dimensions on ``device``. All callers share it: never write to it.

    An operation with a Python number takes several times as long. A backward may save it.
    """
    with torch.inference_mode(False):
        return torch.tensor(value, dtype=dtype, device=device)


@lru_cache(maxsize=32)
def changing(values: tuple[float, ...], device: torch.device) -> Tensor:
    """``values`` that change from step to step, as a float32 tensor [K]. All callers share it: never write to it.

    It is made on ``device`` number by number, without a wait.
    """
    return torch.stack([torch.full((), value, dtype=torch.float32, device=device) for value in values])


def flags(values: tuple[bool, ...], device: torch.device) -> Tensor:
    """``values`` as a bool tensor [K] on ``device``. All callers share it: never write to it."""
    return _flags(tuple(map(bool, values)), device)


@lru_cache(maxsize=256)
def _flags(values: tuple[bool, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.bool, device=device)
