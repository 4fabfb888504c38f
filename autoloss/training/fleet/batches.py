"""The batches of all members, stacked: each member has data and an order of its own, or shares the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import Dataset

from autoloss.core.datasets import collated, size_of
from autoloss.core.sample_order import EpochShuffle
from autoloss.training.fleet.stacked import UnlikeError


class StackedBatches:
    """Batches [M, B, ...] of M datasets of one length; a member's order is that of a run alone with its seed."""

    def __init__(self, datasets: Sequence[Dataset[Any]], seeds: Sequence[int], batch_size: int) -> None:
        sizes = {size_of(dataset, "A fleet", "Write __len__.") for dataset in datasets}
        if len(sizes) > 1:
            raise UnlikeError(
                f"Members of a fleet must have data of one size, but they have {' and '.join(map(str, sorted(sizes)))} "
                "samples. Train them apart."
            )
        self.datasets, self.batch_size, self.size = list(datasets), batch_size, sizes.pop()
        self.orders = [EpochShuffle(self.size, seed) for seed in seeds]

    def __len__(self) -> int:
        return -(-self.size // self.batch_size)

    def epoch(self, number: int) -> Iterator[Any]:
        """The batches of epoch ``number``; the last one may be smaller."""
        orders = []
        for order in self.orders:
            order.set_epoch(number)
            orders.append(list(order))
        for start in range(0, self.size, self.batch_size):
            yield self._taken([order[start : start + self.batch_size] for order in orders])

    def keep(self, members: Sequence[int]) -> None:
        """Drop all members but ``members``."""
        self.datasets = [self.datasets[i] for i in members]
        self.orders = [self.orders[i] for i in members]

    def _taken(self, rows: Sequence[Sequence[int]]) -> Any:
        first = self.datasets[0]
        if hasattr(first, "__getitems__") and all(dataset is first for dataset in self.datasets):
            batch = collated(first, [row for of in rows for row in of])
            if all(tensor.shape[:1] == (len(rows) * len(rows[0]),) for tensor in pytree.tree_leaves(batch)):
                return pytree.tree_map(lambda tensor: tensor.view(len(rows), len(rows[0]), *tensor.shape[1:]), batch)
        return stacked([collated(dataset, of) for dataset, of in zip(self.datasets, rows, strict=True)])


def in_order(dataset: Dataset[Any], batch_size: int) -> Iterator[Any]:
    """The batches of one dataset, in order."""
    size = size_of(dataset, "A fleet", "Write __len__.")
    for start in range(0, size, batch_size):
        yield collated(dataset, range(start, min(size, start + batch_size)))


def stacked(batches: Sequence[Any]) -> Any:
    """The batches of M members as one; raises :class:`UnlikeError` where they differ in more than numbers."""
    layouts = [pytree.tree_structure(batch) for batch in batches]
    leaves = [pytree.tree_leaves(batch) for batch in batches]
    if any(layout != layouts[0] for layout in layouts[1:]):
        raise UnlikeError("Members of a fleet must have batches of one layout, but they differ. Train them apart.")
    found = []
    for of in zip(*leaves, strict=True):
        if not all(isinstance(one, Tensor) and one.shape == of[0].shape for one in of):
            shapes = [list(one.shape) if isinstance(one, Tensor) else repr(one) for one in of]
            other = next((shape for shape in shapes if shape != shapes[0]), shapes[0])
            raise UnlikeError(
                f"Members of a fleet must have batches of tensors of one shape, but one has {shapes[0]} and another "
                f"{other}. Train them apart."
            )
        found.append(torch.stack(list(of)))
    return pytree.tree_unflatten(found, layouts[0])
