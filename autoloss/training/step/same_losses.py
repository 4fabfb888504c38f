"""Whether the losses that a look-ahead computes again are those of the step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import SignalError


def check_same(
    names: Sequence[str], values: Sequence[Tensor | None], before: Sequence[Tensor | None], rounded: bool
) -> None:
    """Raise :class:`SignalError` unless the losses ``values`` of ``names`` are those ``before``."""
    for name, again, first in zip(names, values, before, strict=True):
        if _same(again, first, rounded):
            continue
        if again is None or first is None:
            raise SignalError(_differs(name, "absent" if first is None else "present", "otherwise"))
        raise SignalError(_differs(name, f"{float(first.detach()):g}", f"{float(again):g}"))


def agree(values: Sequence[Tensor | None], before: Sequence[Tensor | None], rounded: bool = False) -> bool:
    """Whether the losses ``values`` are those ``before``; not to rounding if they are central differences."""
    return all(_same(again, first, rounded) for again, first in zip(values, before, strict=True))


def _same(again: Tensor | None, first: Tensor | None, rounded: bool) -> bool:
    if again is None or first is None:
        return again is first
    rounded = rounded or torch.is_autocast_enabled(again.device.type) or first.dtype != torch.float64
    return torch.allclose(again.to(first.dtype), first.detach(), rtol=2e-2 if rounded else 1e-9, atol=1e-6)


def _differs(name: str, before: str, after: str) -> str:
    return (
        f"A look-ahead must compute the losses of the step again, but {name!r} was {before} and is {after}. "
        "Compute them from the same batch and the network that is passed in, with no other effect. If several "
        "optimisers step, name all: balancer.lookahead(network, [first, second], ...)."
    )
