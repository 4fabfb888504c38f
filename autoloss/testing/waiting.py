"""Finds what would make a training step wait for its device, on a machine without an accelerator."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Operations that give a Python number, or a shape that depends on values.
_WAITS = {
    *("_local_scalar_dense", "is_nonzero", "item", "equal", "nonzero", "nonzero_static", "masked_select"),
    *("_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "repeat_interleave"),
}


class NoWaiting(TorchDispatchMode):
    """Within it, an operation that would wait for an accelerator is an ``AssertionError``."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        picks = name in ("index", "index_put", "index_put_", "_index_put_impl_") and any(
            isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in args[1]
        )
        waits = name in _WAITS or picks
        assert not waits, (
            f"A training step must not wait for its device, but {'indexing by a mask' if picks else name} does. "
            "Use torch.where, or sums over masks."
        )
        return func(*args, **(kwargs or {}))
