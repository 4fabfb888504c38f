"""Statistics of gradients at the anchor that a Gram matrix cannot give."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.signals import Stats
from autoloss.core.tensors.ranks import max_over_ranks, sum_over_ranks, world_size
from autoloss.probe.anchor import AnchorPoint


def statistics(rows: Tensor, anchor: AnchorPoint) -> Stats:
    """The statistics of the gradients ``rows`` [K, P], over the items of all ranks."""
    sizes = [tensor.numel() for tensor in anchor.tensors]
    # Row by row: all magnitudes at once would take as much memory as the gradients.
    each = [_statistics(row, sizes, anchor.items) for row in rows]
    item_norm, largest, mean = (torch.stack(of) for of in zip(*each, strict=True))
    ranks = 1 if anchor.parameters else world_size()
    if ranks == 1:
        return Stats(item_norm, largest, mean)
    # On a rank the gradient of the union's mean is 1 / ranks of the local one: DDP averages.
    items, coordinates = rows.new_full((len(rows),), anchor.items), rows.new_full((len(rows),), rows.shape[1])
    sums = sum_over_ranks(torch.stack([item_norm * items, mean * coordinates, items, coordinates]))
    norms, magnitudes, items, coordinates = sums.unbind()
    return Stats(norms / items / ranks, max_over_ranks(largest) / ranks, magnitudes / coordinates / ranks)


def _statistics(row: Tensor, sizes: list[int], items: int) -> tuple[Tensor, Tensor, Tensor]:
    magnitude = row.abs()
    largest, mean = magnitude.amax(), magnitude.mean()
    squares = [part.reshape(items, -1).sum(1) for part in magnitude.square_().split(sizes)]
    return torch.stack(squares).sum(0).sqrt().mean(), largest, mean
