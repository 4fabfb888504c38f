"""Datasets that are tensors in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy
import torch
from torch import Tensor
from torch.utils.data import Dataset

from autoloss.core.errors import require

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
        # Neither `torch.tensor(indices)` nor `column[rows]`, which cost several times more for the rows of a fleet.
        rows = torch.from_numpy(numpy.fromiter(indices, numpy.int64, len(indices)))
        return {name: column.index_select(0, rows.to(column.device)) for name, column in self.columns.items()}

    @staticmethod
    def collate(batch: Batch) -> Batch:
        """A batch is collated already."""
        return batch


def folds(rows: Tensor, count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """``rows`` split ``count`` times into training and validation rows; each row is validated on once.

    >>> [(len(train), len(val)) for train, val in folds(torch.arange(7), 3, seed=0)]
    [(4, 3), (5, 2), (5, 2)]
    """
    holds = 2 <= count <= len(rows)
    require(
        holds, "The number of folds must lie between 2 and the number of rows", f"it is {count} for {len(rows)} rows"
    )
    order = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))]
    parts = order.tensor_split(count)
    return [(torch.cat([*parts[:i], *parts[i + 1 :]]), part) for i, part in enumerate(parts)]
