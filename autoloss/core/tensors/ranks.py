"""The processes of a distributed run: how many, which one, and sums and maxima over them; one gets its own back."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def world_size() -> int:
    """The number of processes that train together; 1 without ``torch.distributed``."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """The number of this process among those that train together; 0 without ``torch.distributed``."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def sum_over_ranks(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """``x`` summed over all ranks; detached, same shape. ``group`` holds all ranks too, by default the world's."""
    return _reduced(x, dist.ReduceOp.SUM, group) if world_size() > 1 else x


def max_over_ranks(x: Tensor, group: dist.ProcessGroup | None = None) -> Tensor:
    """The largest of ``x`` over all ranks, elementwise; detached, same shape. ``group`` as above."""
    return _reduced(x, dist.ReduceOp.MAX, group) if world_size() > 1 else x


def _reduced(x: Tensor, operation: dist.ReduceOp.RedOpType, group: dist.ProcessGroup | None) -> Tensor:
    with torch.no_grad():
        x = x.detach().clone()
        dist.all_reduce(x, op=operation, group=group)
    return x
