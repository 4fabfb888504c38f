"""Orders of training data, which depend on the seed and the epoch only, and which processes share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DistributedSampler

from autoloss.core.tensors.draws import SEEDS
from autoloss.core.tensors.ranks import rank, world_size


class SharedOrder(DistributedSampler[Any], ABC):
    """Gives each of R processes every R-th sample of one :meth:`order`, which depends on the seed and the epoch only.

    So the batches of all processes together are those of one process with batches R times as large. Each gets the same
    number of samples: the first of the order are used again where the data cannot be shared out. The class is a
    ``DistributedSampler`` because Lightning wraps any other one, in an order of its own.
    """

    def __init__(self, size: int, seed: int) -> None:
        # The base class's __init__ is not called: it needs the process group, which starts later.
        self.size, self.seed, self.epoch = size, seed, 0

    @abstractmethod
    def order(self) -> list[int]:
        """All samples of the present epoch, in their order."""

    def generator(self) -> torch.Generator:
        """The random numbers of the present epoch."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % SEEDS)

    def __len__(self) -> int:
        return -(-self.size // world_size())

    def __iter__(self) -> Iterator[Any]:
        order = self.order()
        order += order[: len(self) * world_size() - len(order)]
        return iter(order[rank() :: world_size()])


class EpochShuffle(SharedOrder):
    """A permutation for each (seed, epoch): a resumed run sees the data in the same order as an uninterrupted one."""

    def order(self) -> list[int]:
        return torch.randperm(self.size, generator=self.generator()).tolist()
