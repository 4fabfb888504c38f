"""Keeps an open accumulation window in a checkpoint, so that saving within a step changes nothing that is learned."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from autoloss.core.samples import Samples
from autoloss.core.signals import Signals, Stats
from autoloss.core.table import Reduced
from autoloss.probe import Measured
from autoloss.training.step.sample_weights import Sampled
from autoloss.training.step.weigh import Weighed
from autoloss.training.step.window import Window

TYPES = {one.__name__: one for one in (Weighed, Signals, Stats, Measured, Reduced, Sampled, Samples)}


def packed(window: Window) -> Tensor:
    """The micro-batches of ``window`` as numbers, empty if there are none; those without a backward are left out."""
    steps = [_without_graph(step) for step in window.steps if not any(step is waiting for waiting in window.pending)]
    if not steps:
        return torch.zeros(0, dtype=torch.float64)
    file = io.BytesIO()
    torch.save(_plain(steps), file)
    size = file.tell()
    data = bytearray(file.getvalue()) + bytes(-size % 8)
    number = torch.tensor([size], dtype=torch.float64)
    return torch.cat([number, torch.frombuffer(data, dtype=torch.uint8).clone().view(torch.float64)])


def unpacked(numbers: Tensor, device: torch.device) -> list[Weighed]:
    """The micro-batches that :func:`packed` made ``numbers`` of, on ``device``."""
    if not len(numbers):
        return []
    data = numbers[1:].detach().cpu().clone().view(torch.uint8)[: int(numbers[0])]
    plain = torch.load(io.BytesIO(bytes(data.tolist())), map_location=device, weights_only=True)
    return [_typed(step) for step in plain]


def _without_graph(step: Weighed) -> Weighed:
    bare = replace(step.losses, scalars=(None,) * len(step.losses.scalars))
    return replace(step, total=step.total.detach(), losses=bare, probed=None, received=None)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone()  # a view would be saved with all that it is a view of
    if is_dataclass(value):
        found = {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
        return {"type": type(value).__name__, "fields": found}
    if isinstance(value, Mapping):
        return {"type": "", "fields": {key: _plain(one) for key, one in value.items()}}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value


def _typed(value: Any) -> Any:
    if isinstance(value, dict):
        found = {key: _typed(one) for key, one in value["fields"].items()}
        return TYPES[value["type"]](**found) if value["type"] else found
    return tuple(map(_typed, value)) if isinstance(value, list) else value
