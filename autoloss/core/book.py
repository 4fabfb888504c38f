"""The append-only record of a training: written in the step, read by nobody in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.clock import Clock


@dataclass(frozen=True, slots=True)
class Row:
    """One recorded step: ``numbers`` by tag, NaN where a loss was absent."""

    clock: Clock
    numbers: dict[str, float]


class LossBook:
    """Keeps recorded tensors on their device and hands them out in blocks.

    Reading a number at each step would wait for the device each time; a block costs one wait.
    """

    def __init__(self) -> None:
        self._pages: list[tuple[Clock, tuple[str, ...], Tensor]] = []

    def __len__(self) -> int:
        return len(self._pages)

    def add(self, clock: Clock, columns: Mapping[str, tuple[Sequence[str], Tensor]]) -> None:
        """Append one step: for each kind of number (``loss_weight``) the names and a tensor [K]."""
        tags = tuple(f"{kind}/{name}" for kind, (names, _) in columns.items() for name in names)
        self._pages.append((clock, tags, torch.cat([x.detach().float() for _, x in columns.values()])))

    def take(self) -> list[Row]:
        """Remove and return what was recorded, with one transfer from the device."""
        pages, self._pages = self._pages, []
        if not pages:
            return []
        flat = torch.cat([page for _, _, page in pages]).cpu().tolist()
        rows, at = [], 0
        for clock, tags, page in pages:
            rows.append(Row(clock, dict(zip(tags, flat[at : at + len(page)], strict=True))))
            at += len(page)
        return rows
