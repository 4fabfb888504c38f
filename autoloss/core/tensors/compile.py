"""What torch.compile leaves alone."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch

F = TypeVar("F", bound=Callable[..., Any])


def uncompiled(function: F) -> F:
    """``function`` as it is, also where torch.compile compiles what calls it: the graph breaks there.

    A balancer counts its calls and caches constants: traced, it would be compiled anew at each step.
    """
    plain: Callable[..., Any] | None = None

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal plain
        # To disable imports the compiler, which takes seconds; without it nothing is compiled.
        if plain is None and "torch._dynamo" in sys.modules:
            plain = torch.compiler.disable(function)
        return (plain or function)(*args, **kwargs)

    call._torchdynamo_disable = True  # type: ignore[attr-defined]  # or this frame would be traced itself
    return cast(F, call)


def keep_compiled_buffers() -> None:
    """Have compiled backwards keep what they saved, for a probe that starts later (every_n, warmup).

    They donate it unless told not to before they are first compiled.
    """
    from torch._functorch import config

    config.donated_buffer = False
