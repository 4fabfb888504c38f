"""The order of the data in a curriculum: the easiest first, ever more of them."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import DistributedSampler

from autoloss.core.schedules.schedule import Schedule
from autoloss.core.tensors.ranks import world_size


class PacedShuffle(DistributedSampler[Any]):
    """Goes through the easiest share c of the data in random order, again and again, until an epoch is full.

    An epoch has as many samples as the data, whatever c is: steps, learning rates and progress are those of a
    training without a curriculum. Before each pass c is asked anew, so that it rises within an epoch too. With
    all data in use the order is that of a plain shuffle. The order depends on the seed and the epoch, and on nothing
    else; the ranks share it out. It counts as distributed already, so Lightning leaves it as it is.
    """

    def __init__(self, size: int, seed: int, pacing: Schedule | None = None) -> None:
        # Not the base class's: it asks for the process group, which begins later.
        self.size, self.seed, self.pacing, self.epoch = size, seed, pacing, 0
        self.epochs = 1.0
        self.easiest: Tensor | None = None
        self._passes: list[tuple[int, float]] = []

    def learn(self, difficulty: Tensor) -> None:
        """Say how difficult each sample is, [N]; equal ones come in their order."""
        self.easiest = difficulty.cpu().argsort(stable=True)

    def used(self, place: int) -> float:
        """The share of the data in use at ``place`` of the epoch that was last begun."""
        if not self._passes:
            return 1.0
        return self._passes[max(0, bisect_right(self._passes, place, key=lambda one: one[0]) - 1)][1]

    def __len__(self) -> int:
        return -(-self.size // world_size())

    def __iter__(self) -> Iterator[Any]:
        order = self._order()
        ranks, whole = world_size(), len(self) * world_size()
        order += order[: whole - len(order)]
        return iter(order[dist.get_rank() if ranks > 1 else 0 :: ranks])

    def _order(self) -> list[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order: list[int] = []
        self._passes = []
        while len(order) < self.size:
            share = self._share(len(order))
            count = min(self.size, max(1, round(share * self.size)))
            self._passes.append((len(order), count / self.size))
            # In their own order before they are shuffled: all of them are then shuffled as without a curriculum.
            pool = torch.arange(self.size) if self.easiest is None else self.easiest[:count].sort().values
            order += pool[torch.randperm(len(pool), generator=generator)].tolist()
        return order[: self.size]

    def _share(self, place: int) -> float:
        if self.pacing is None or self.easiest is None:
            return 1.0
        return self.pacing(min(1.0, (self.epoch + place / self.size) / self.epochs))
