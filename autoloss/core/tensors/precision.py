"""Inner products of gradients in full float32, also where autocast or TF32 is on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


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
