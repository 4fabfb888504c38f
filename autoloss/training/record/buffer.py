"""The append-only record of a training: written in the step, read by nobody in it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.clock import Clock


@dataclass(frozen=True, slots=True)
class Page:
    """One recorded step: flat numbers by key, and the time at which they were recorded."""

    clock: Clock
    time: float
    numbers: dict[str, list[float]]


class LossBook:
    """Keeps recorded tensors on their device and hands them out in blocks.

    Reading a number at each step would wait for the device each time; a block costs one wait.
    """

    def __init__(self) -> None:
        self._pages: list[tuple[Clock, float, dict[str, int], Tensor]] = []

    def __len__(self) -> int:
        return len(self._pages)

    def add(self, clock: Clock, tensors: Mapping[str, Tensor]) -> None:
        """Append one step: tensors of any shape by key, all on one device."""
        flat = [x.detach().reshape(-1).float() for x in tensors.values()]
        sizes = {key: x.numel() for key, x in tensors.items()}
        self._pages.append((clock, time.time(), sizes, torch.cat(flat)))

    def take(self) -> list[Page]:
        """Remove and return what was recorded, with one transfer from the device."""
        pages, self._pages = self._pages, []
        if not pages:
            return []
        flat = torch.cat([page for *_, page in pages]).cpu().tolist()
        found, at = [], 0
        for clock, when, sizes, _ in pages:
            numbers = {}
            for key, size in sizes.items():
                numbers[key] = flat[at : at + size]
                at += size
            found.append(Page(clock, when, numbers))
        return found
