"""The signals of gradients that met in a fork."""

from __future__ import annotations

from weakref import ReferenceType, WeakKeyDictionary, ref

import torch.distributed as dist
from torch import Tensor

from autoloss.core.measured.signal import Rows
from autoloss.core.need import Need
from autoloss.core.tensors.ranks import sum_over_ranks, world_size
from autoloss.probe.fork import Place
from autoloss.probe.gradients import Measured, signals_of

# Weak keys and values: the threads of a group that outlives destroy_process_group() abort the process at its end.
_groups: WeakKeyDictionary[dist.ProcessGroup, ReferenceType[dist.ProcessGroup]] = WeakKeyDictionary()


def own_group() -> dist.ProcessGroup | None:
    """The process group of all ranks for what is reduced inside a backward; ``None`` with one process.

    There DDP reduces its buckets as they fill up, and in one group every rank must reduce the same
    things in the same order. Making the group is a collective call: call this outside backward, on every rank.
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
    rows = rows.float()
    if place.parameters and group is not None:
        rows = sum_over_ranks(rows, group) / world_size()
    found = Rows(rows, (rows.shape[1],), place.items, at_once=True, group=group)
    signals = signals_of(found, needs, over_ranks=group is not None and not place.parameters)
    return Measured(reached, signals, rows if keep_rows and place.parameters else None, found.items_each())
