"""The order of training data, which depends on the seed and the epoch only."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from autoloss.core.tensors.draws import SEEDS


class EpochShuffle(Sampler[int]):
    """A permutation for each (seed, epoch): a resumed run sees the data in the same order as an uninterrupted one."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Lightning calls this at the start of an epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + self.epoch) % SEEDS)
        return iter(torch.randperm(self.size, generator=generator).tolist())
