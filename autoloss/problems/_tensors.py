"""Datasets that are tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor
from torch.utils.data import Dataset

Batch = Mapping[str, Tensor]


class TensorTable(Dataset[Batch]):
    """Named tensors with one row for each sample; a batch is taken by one index, not row by row."""

    def __init__(self, **columns: Tensor) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: int) -> Batch:
        return {name: column[index] for name, column in self.columns.items()}

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        return {name: column[list(indices)] for name, column in self.columns.items()}

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """A batch is collated already."""
        return batch
