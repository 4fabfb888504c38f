"""Marks the losses of samples that have no label."""

from __future__ import annotations

import torch
from torch import Tensor


def marked(values: Tensor, present: Tensor) -> Tensor:
    """``values`` [B] with 0 where a sample is not ``present`` [B]; the result carries ``present`` as an attribute.

    An ``Entry`` reads it as its mask. Arithmetic drops it: ``2 * values`` is a new tensor without it.

    >>> marked(torch.tensor([1.0, 2.0]), torch.tensor([True, False])).present
    tensor([ True, False])
    """
    found = torch.where(present, values, 0.0)
    found.present = present  # type: ignore[attr-defined]
    return found


def presence(values: Tensor) -> Tensor | None:
    """Which samples of ``values`` are :func:`marked` as present, [B] bool; ``None`` if nothing was marked."""
    found = getattr(values, "present", None)
    return found if isinstance(found, Tensor) else None
