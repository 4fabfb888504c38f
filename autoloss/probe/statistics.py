"""Statistics of gradients at the anchor that a Gram matrix cannot give."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.ranks import max_over_ranks, sum_over_ranks, world_size
from autoloss.core.signals import Stats
from autoloss.probe.anchor import AnchorPoint


def statistics(rows: Tensor, anchor: AnchorPoint) -> Stats:
    """The statistics of the gradients ``rows`` [K, P], over the items of all ranks."""
    squares = rows.new_zeros(len(rows), anchor.items)
    for part in rows.split([tensor.numel() for tensor in anchor.tensors], dim=1):
        squares += part.reshape(len(rows), anchor.items, -1).square().sum(2)
    magnitude = rows.abs()
    ranks = 1 if anchor.parameters else world_size()
    if ranks == 1:
        return Stats(squares.sqrt().mean(1), magnitude.amax(1), magnitude.mean(1))
    # On a rank the gradient of the union's mean is 1 / ranks of the local one: DDP averages.
    sizes = rows.new_ones(len(rows))
    sums = torch.stack([squares.sqrt().sum(1), magnitude.sum(1), sizes * anchor.items, sizes * rows.shape[1]])
    norms, magnitudes, items, coordinates = sum_over_ranks(sums).unbind()
    return Stats(norms / items / ranks, max_over_ranks(magnitude.amax(1)) / ranks, magnitudes / coordinates / ranks)
