"""The ways in which two processes may train, and one alone on the union of their batches; for ddp_script.py."""

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass

import torch
from torch import nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_
from torch.utils.checkpoint import checkpoint

from autoloss import Balancer, Entry
from autoloss.core.errors import SignalError

LATE = {"name": "gradnorm", "wrap": [{"every_n": {"n": 2}}, {"warmup": {"steps": 1}}]}


@dataclass(frozen=True)
class Way:
    weighting: str | dict = "gradnorm"
    inside: bool = False  # the wrapped forward returns the total
    unused: bool = False  # of the network's parameters, or of a rank's tasks
    static: bool = False
    accumulate: int = 1
    clip: float | None = None
    cast: torch.dtype | None = None
    checkpointed: bool = False
    frozen: bool = False
    tasks: bool = False  # each sample belongs to one task, and some steps lack a task
    sharded: bool = False


WAYS = {
    "inside": Way(inside=True),
    "unused": Way(unused=True),
    "unused inside": Way(unused=True, inside=True),
    "static": Way(static=True, inside=True),
    "static late": Way(LATE, static=True, inside=True),
    "static values": Way("uncertainty", static=True),
    "no_sync": Way(accumulate=2),
    "no_sync values": Way("uncertainty", accumulate=2),
    "no_sync unused": Way(accumulate=2, unused=True),
    "clipped": Way(clip=0.1),
    "bfloat16": Way(cast=torch.bfloat16, clip=0.1, accumulate=2),
    "float16": Way(cast=torch.float16),
    "checkpointed": Way(checkpointed=True),
    "frozen": Way(frozen=True),
    "frozen no_sync": Way(frozen=True, accumulate=2),
    "tasks": Way(tasks=True, unused=True),
    "tasks inside": Way(tasks=True, unused=True, inside=True),
    "tasks values": Way("dwa", tasks=True, unused=True),
    "sharded": Way(sharded=True),
    "sharded inside": Way(sharded=True, inside=True),
    "sharded values": Way("uncertainty", sharded=True),
}


class Net(nn.Module):
    def __init__(self, way, at):
        super().__init__()
        torch.manual_seed(0)
        self.way, self.at = way, at
        self.trunk = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 4))
        self.heads = nn.ModuleDict({name: nn.Linear(4, 3) for name in "abc"})
        if way.unused:
            self.idle = nn.Linear(2, 2)
        if way.frozen:
            self.trunk.requires_grad_(False)
        # A part of the network, as in a LightningModule: DDP broadcasts its buffers.
        self.balancer = Balancer("abc", way.weighting, accumulate=way.accumulate)

    def forward(self, x, mask, task, scale=None):
        run = self.trunk if not self.way.checkpointed else lambda x: checkpoint(self.trunk, x, use_reentrant=False)
        if self.way.tasks:
            features, losses = None, {}
            for k, name in enumerate("abc"):
                rows = x[task == k]
                losses[name] = self.loss(name, run(rows)) if len(rows) else None
        else:
            features = run(x)
            if self.way.frozen:
                features = features.requires_grad_()
            losses = {name: self.loss(name, features) for name in "abc"}
        # The mask is applied outside: before 2.13 fully_shard's hooks see plain containers alone.
        mask = None if self.way.tasks else mask
        return self.total(losses, features, mask, scale) if self.way.inside else (losses, features, mask)

    def loss(self, name, features):
        return self.heads[name](features).square().mean(1) * 4 ** "abc".index(name)

    def total(self, losses, features, mask, scale=None):
        if mask is not None:
            losses = {**losses, "b": Entry(losses["b"], mask)}
        return self.balancer(losses, features if self.at == "features" else list(self.trunk.parameters()), scale)


def train(way, at, rank, ranks, device="cpu", wrapped=None):
    """Parameters and state; ``wrapped`` or not for distributed training, which more than one rank is."""
    net = Net(way, at).to(device)
    wrapped = ranks > 1 if wrapped is None else wrapped
    if not wrapped:
        module = net
    elif way.sharded:
        module = fully_shard(net)
    else:
        module = DistributedDataParallel(net, find_unused_parameters=way.unused, static_graph=way.static)
    scaler = torch.amp.GradScaler(device, init_scale=2.0**10) if way.cast == torch.float16 else None
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    generator = torch.Generator().manual_seed(1)
    for step in range(6):
        optimizer.zero_grad()
        for part in range(way.accumulate):
            x, mask = torch.randn(16, 5, generator=generator), torch.rand(16, generator=generator) > 0.5
            # Sorted, so that no rank has every task.
            task = torch.randint(2 if step % 3 == 1 else 3, (16,), generator=generator).sort().values
            here = slice(None) if ranks == 1 else (slice(0, 11), slice(11, 16))[rank]
            scale = None if scaler is None else scaler.scale(torch.ones((), device=device))
            with ExitStack() as stack:
                if wrapped and part < way.accumulate - 1:
                    stack.enter_context(module.no_sync())
                with nullcontext() if way.cast is None else torch.autocast(device, dtype=way.cast):
                    out = module(*(part[here].to(device) for part in (x, mask, task)), scale)
                total = (out if way.inside else net.total(*out, scale)) / way.accumulate
                (total if scaler is None else scaler.scale(total)).backward()
        if scaler is not None:
            scaler.unscale_(optimizer)
        if way.clip is not None:
            clip_grad_norm_(net.parameters(), way.clip)
        optimizer.step() if scaler is None else scaler.step(optimizer)
        if scaler is not None:
            scaler.update()
    whole = [p.full_tensor() if hasattr(p, "full_tensor") else p for p in net.parameters()]
    state = {name: value.tolist() for name, value in net.balancer.player.state_dict().items()}
    return {"state": state, "parameters": torch.cat([p.detach().reshape(-1) for p in whole]).tolist()}


def shards(device):
    """Whether fully_shard works: on a CPU it asks for what torch 2.6 lacks there."""
    return device != "cpu" or hasattr(torch.cpu.Stream, "record_event")


def train_in_each_way(rank, ranks, device="cpu", wrapped=None):
    """What was learned, by way and anchor."""
    return {
        f"{name}/{at}": train(way, at, rank, ranks, device, wrapped)
        for name, way in WAYS.items()
        if not way.sharded or shards(device)
        for at in ("features", "parameters")
        # Tasks have no features in common, a frozen trunk has no parameters to train, and these need no anchor.
        if not (at == "features" and way.tasks) and not (at == "parameters" and (way.frozen or "values" in name))
    }


def mistakes():
    """What is said of parameters that have been sharded again."""
    if not shards("cpu"):
        return {}
    net = Net(Way(), "parameters")
    for part in (net.trunk, *net.heads.values()):
        fully_shard(part)
    assert isinstance(fully_shard(net), FSDPModule)
    try:
        net.total(*net(torch.ones(4, 5), torch.ones(4, dtype=torch.bool), None))
    except SignalError as error:
        return {"sharded": str(error)}
    return {"sharded": None}
