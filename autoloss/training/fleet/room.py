"""How many members memory has room for, estimated before the first step."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from autoloss.core.clock import Clock
from autoloss.core.datasets import collated, size_of
from autoloss.training.fleet.plan import Plan
from autoloss.training.fleet.training import Job
from autoloss.training.step.entries import table_of

SHARE = 0.8  # of the free memory that a fleet may take
COPIES = 5  # of the parameters: themselves, gradients, two moments, and one that an operation makes
SLACK = 1.5  # what operations need besides what they keep for the backward
CGROUP = Path("/sys/fs/cgroup")  # what Linux grants this process, where a container or a batch system limits it
LIMITS = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))


class NoRoomError(MemoryError):
    """Memory has no room for a fleet; ``room`` is how many members it has room for, at least 1."""

    def __init__(self, room: int) -> None:
        super().__init__(f"Memory has room for {room} members.")
        self.room = room


def check_room(job: Job, plan: Plan, members: int) -> None:
    """Raise :class:`NoRoomError` if a fleet of ``members`` like ``job`` would need more than the free memory."""
    device = next(job.member.network.parameters()).device
    room = max(1, int(SHARE * free_bytes(device) // member_bytes(job, plan)))
    if room < members:
        raise NoRoomError(room)


def member_bytes(job: Job, plan: Plan) -> int:
    """The memory that one member needs: its parameters and their like, a batch, and what its backward keeps of it."""
    member, dataset = job.member, job.data["train"]
    batch = collated(dataset, range(min(plan.batch_size, size_of(dataset, "A fleet", "Write __len__."))))
    held = [*member.network.parameters(), *(p for loss in member.losses.values() for p in loss.parameters())]
    kept: dict[int, int] = {tensor.untyped_storage().data_ptr(): 0 for tensor in held}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    buffers = {id(module): dict(module._buffers) for module in member.network.modules()}
    try:
        # A forward may change what a network keeps, such as the averages of BatchNorm: it changes copies.
        for module in member.network.modules():
            copies = {name: None if of is None else of.clone() for name, of in module._buffers.items()}
            module._buffers.update(copies)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.random.fork_rng():
            table = table_of(member.problem.outputs(member.network, batch), member.losses, member.player, Clock())
    finally:
        for module in member.network.modules():
            module._buffers.update(buffers[id(module)])
    values = [entry.values for entry in map(table.entry, table.entries) if entry is not None]
    data = [of.nbytes for of in pytree.tree_leaves(batch) if isinstance(of, Tensor)]
    return int(
        COPIES * sum(tensor.nbytes for tensor in held)
        + SLACK * (sum(kept.values()) + sum(of.nbytes for of in values))
        + sum(data)
    )


def free_bytes(device: torch.device) -> int:
    """The memory that ``device`` has left; of a CPU, what the system or the process's group has, the smaller one."""
    if device.type == "cuda":
        # What torch holds and does not use is free for a fleet, too.
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(torch.cuda.mem_get_info(device)[0]) + held
    found = [int(psutil.virtual_memory().available)]
    for limit, used in LIMITS:
        with suppress(OSError, ValueError):  # no such file, or no limit
            found.append(int((CGROUP / limit).read_text()) - int((CGROUP / used).read_text()))
    return max(0, min(found))
