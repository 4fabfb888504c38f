"""Data loaders whose order depends on the seed and the epoch, and on nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler


class EpochShuffle(Sampler[int]):
    """A permutation for each (seed, epoch): a resumed run sees the data in the order of the uninterrupted one."""

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed, self.epoch = size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning when an epoch begins."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        return iter(torch.randperm(self.size, generator=generator).tolist())


def loader(dataset: Dataset[Any], batch_size: int, seed: int, shuffle: bool, workers: int = 0) -> DataLoader[Any]:
    """A loader of ``dataset``; its last batch may be smaller. Its own ``collate`` is used where it has one."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=EpochShuffle(len(dataset), seed) if shuffle else None,  # type: ignore[arg-type]
        collate_fn=getattr(dataset, "collate", None),
        num_workers=workers,
        # Without a generator of its own a loader draws from the global one, and dropout would see it.
        generator=torch.Generator().manual_seed(seed),
        persistent_workers=workers > 0,
    )
