"""Gradients that came together in a fork, as a Gram matrix and statistics."""

from __future__ import annotations

from weakref import ReferenceType, WeakKeyDictionary, ref

import torch
import torch.distributed as dist
from torch import Tensor

from autoloss.core.need import Need
from autoloss.core.signals import Stats
from autoloss.core.tensors.ranks import world_size
from autoloss.probe.fork import Place
from autoloss.probe.gradients import Measured

# Weak on both sides: a group that outlives destroy_process_group() has threads that abort the process at its end.
_groups: WeakKeyDictionary[dist.ProcessGroup, ReferenceType[dist.ProcessGroup]] = WeakKeyDictionary()


def own_group() -> dist.ProcessGroup | None:
    """The process group of all ranks for what is reduced inside a backward; ``None`` with one process.

    There DDP reduces its buckets as they fill up, and in one group every rank must reduce the same
    things in the same order. To make it is a collective call: ask outside backward, on every rank.
    """
    if world_size() == 1:
        return None
    world = dist.group.WORLD
    assert world is not None
    made = _groups[world]() if world in _groups else None
    if made is None:
        made = dist.new_group()
        _groups[world] = ref(made)
    return made


def measure_at_fork(
    rows: Tensor, reached: Tensor, place: Place, needs: Need, group: dist.ProcessGroup | None, keep_rows: bool = False
) -> Measured:
    """Compare the gradients ``rows`` [K, P] that met at ``place``, over the ranks of ``group``."""
    rows, items = rows.float(), place.items
    if place.parameters and group is not None:
        rows = rows.clone()
        dist.all_reduce(rows, group=group)
        rows /= dist.get_world_size(group)
        group = None
    gram = rows @ rows.T if Need.GRAM in needs else None
    stats = _statistics(rows, items) if Need.STATS in needs else None
    if group is not None:
        gram, stats = _over_ranks(gram, stats, items, rows.shape[1], group)
    return Measured(reached, gram, stats, rows if keep_rows and place.parameters else None, items)


def _statistics(rows: Tensor, items: int) -> Stats:
    magnitude = rows.abs()
    return Stats(rows.reshape(len(rows), items, -1).norm(dim=2).mean(1), magnitude.amax(1), magnitude.mean(1))


def _over_ranks(
    gram: Tensor | None, stats: Stats | None, items: int, coordinates: int, group: dist.ProcessGroup
) -> tuple[Tensor | None, Stats | None]:
    # On a rank the gradient of the union's mean is 1 / ranks of the local one: DDP averages.
    ranks = dist.get_world_size(group)
    if gram is not None:
        dist.all_reduce(gram, group=group)
        gram /= ranks**2
    if stats is not None:
        sizes = torch.ones_like(stats.mean)
        sums = torch.stack([stats.item_norm * items, stats.mean * coordinates, sizes * items, sizes * coordinates])
        largest = stats.largest
        dist.all_reduce(sums, group=group)
        dist.all_reduce(largest, op=dist.ReduceOp.MAX, group=group)
        norms, magnitudes, items_of_all, coordinates_of_all = sums.unbind()
        stats = Stats(norms / items_of_all / ranks, largest / ranks, magnitudes / coordinates_of_all / ranks)
    return gram, stats
