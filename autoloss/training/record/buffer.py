"""Keeps recorded tensors on their device until there are enough of them to read at once."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.clock import Clock


@dataclass(frozen=True, slots=True)
class RecordedStep:
    """One recorded step: flat numbers by key, and the time at which they were recorded."""

    clock: Clock
    time: float
    numbers: dict[str, list[float]]


class RecordBuffer:
    """Keeps recorded tensors on their device, and reads them in blocks.

    Reading a number waits for the device; this waits once for a block of steps, not once for each step. The step writes
    to the buffer and never reads from it, so recording cannot change a training.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Clock, float, dict[str, int], Tensor]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, clock: Clock, tensors: Mapping[str, Tensor]) -> None:
        """Append one step: tensors of any shape by key, all on one device."""
        flat = [x.detach().reshape(-1).float() for x in tensors.values()]
        sizes = {key: x.numel() for key, x in tensors.items()}
        self._waiting.append((clock, time.time(), sizes, torch.cat(flat)))

    def take(self) -> list[RecordedStep]:
        """Remove and return all steps, with one transfer from the device."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return []
        flat = torch.cat([tensor for *_, tensor in waiting]).cpu().tolist()
        found, at = [], 0
        for clock, when, sizes, _ in waiting:
            numbers = {}
            for key, size in sizes.items():
                numbers[key] = flat[at : at + size]
                at += size
            found.append(RecordedStep(clock, when, numbers))
        return found
