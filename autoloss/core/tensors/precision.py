"""Computing in float32, also where autocast, TF32 or another default dtype is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor


@contextmanager
def exact(device_type: str = "cpu") -> Iterator[None]:
    """Within it autocast is off and new tensors are float32; on leaving both are as before.

    Training in half or double precision changes torch's default dtype (``trainer.precision=bf16-true``) or casts
    products (autocast). What a weighting computes and remembers must not follow.
    """
    default = torch.get_default_dtype()
    casts = torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
    if default is torch.float32 and not casts:
        yield
        return
    torch.set_default_dtype(torch.float32)
    try:
        with torch.autocast(device_type, enabled=False) if casts else nullcontext():
            yield
    finally:
        torch.set_default_dtype(default)


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """Within it autocast and TF32 are off; on leaving they are as before."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def gram_of(rows: Tensor) -> Tensor:
    """The inner products [K, K] of ``rows`` [K, P]."""
    with full_precision(rows.device.type):
        return rows @ rows.T
