"""The order of the data in a curriculum: the easiest samples first, then more and more of the data."""

from __future__ import annotations

from bisect import bisect_right

import torch
from torch import Tensor

from autoloss.core.sample_order import SharedOrder
from autoloss.core.schedules.schedule import Schedule


class PacedShuffle(SharedOrder):
    """Draws passes over the easiest share c of the data, each in random order, until an epoch is full.

    An epoch has as many samples as the data, whatever c is. So steps, learning rates and progress are those of a
    training without a curriculum. ``pacing`` gives c before each pass, so that c also rises within an epoch. With
    c = 1 the order is that of a plain shuffle.
    """

    def __init__(self, size: int, seed: int, pacing: Schedule | None = None) -> None:
        super().__init__(size, seed)
        self.pacing = pacing
        self.epochs = 1.0
        self.easiest: Tensor | None = None
        self._passes: list[tuple[int, float]] = []

    def learn(self, difficulty: Tensor) -> None:
        """Set the difficulty [N] of the samples; samples of equal difficulty keep their order."""
        self.easiest = difficulty.cpu().argsort(stable=True)

    def used(self, place: int) -> float:
        """The share of the data in use at sample ``place`` of the current epoch."""
        if not self._passes:
            return 1.0
        return self._passes[max(0, bisect_right(self._passes, place, key=lambda one: one[0]) - 1)][1]

    def order(self) -> list[int]:
        generator = self.generator()
        order: list[int] = []
        self._passes = []
        while len(order) < self.size:
            share = self._share(len(order))
            count = min(self.size, max(1, round(share * self.size)))
            self._passes.append((len(order), count / self.size))
            # Sorted before the shuffle: with all of the data the order is that of a plain shuffle.
            pool = torch.arange(self.size) if self.easiest is None else self.easiest[:count].sort().values
            order += pool[torch.randperm(len(pool), generator=generator)].tolist()
        return order[: self.size]

    def _share(self, place: int) -> float:
        if self.pacing is None or self.easiest is None:
            return 1.0
        return self.pacing(min(1.0, (self.epoch + place / self.size) / self.epochs))
