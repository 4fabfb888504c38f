"""Excludes functions and buffers from torch.compile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def uncompiled(function: F) -> F:
    """``function``, which torch.compile must not compile even where it compiles the caller: the graph breaks there.

    A balancer counts its calls and caches constants: traced, it would be compiled again at each step.
    """
    plain: Callable[..., Any] | None = None

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal plain
        # torch.compiler.disable imports the compiler, which takes seconds; if it is not loaded, nothing is compiled.
        if plain is None and "torch._dynamo" in sys.modules:
            plain = torch.compiler.disable(function)
        return (plain or function)(*args, **kwargs)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]  # or this frame would be traced itself
    return cast(F, call)


def keep_compiled_buffers() -> None:
    """Make compiled backwards keep their saved tensors, for a probe that starts later (every_n, warmup).

    By default they reuse that memory ("donated buffers"). Call this before the first compilation.
    """
    from torch._functorch import config

    config.donated_buffer = False
