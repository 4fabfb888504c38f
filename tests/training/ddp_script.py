"""Run by torch.distributed.run: trains on a share of each batch and prints what was learned."""

import gc
import json
import sys

import ddp_ways
import torch
import torch.distributed as dist
from fork_ddp_script import Remembering
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autoloss import Balancer, Entry
from autoloss.core.errors import SignalError


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.heads = nn.Linear(5, 4), nn.ModuleList([nn.Linear(4, 3) for _ in range(3)])

    def forward(self, x):
        features = self.trunk(x)
        return features, [head(features) for head in self.heads]


def train(weighting, at, split, rank, ranks):
    net = Net()
    module = DistributedDataParallel(net, find_unused_parameters=split == "absent") if ranks > 1 else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    given = {"remembering": Remembering(), "coba": {"name": "coba", "window": 4, "warmup": 2}}
    balancer = Balancer("abc", given.get(weighting, weighting))
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        x = torch.randn(16, 5, generator=generator)
        mask = torch.rand(16, generator=generator) > 0.5
        cut = 11 if split == "uneven" else 8
        here = slice(None) if ranks == 1 else (slice(0, cut), slice(cut, 16))[rank]
        held = torch.randn(16, 5, generator=generator)

        def losses_of(net, x, mask, here=here, cut=cut):
            features, outs = net(x)
            values = [out.square().mean(1) * 4**k for k, out in enumerate(outs)]
            entries = {"a": Entry(values[0]), "b": Entry(values[1], mask), "c": Entry(values[2])}
            if split == "absent":
                # Rank 1 has no loss c at all, and rank 0 has it for all of its samples.
                entries["c"] = None if rank else Entry(values[2], torch.arange(16)[here] < cut)
            return entries, features

        def again(net, x=x[here], mask=mask[here]):
            return losses_of(net, x, mask)[0]

        with balancer.lookahead(
            module,
            optimizer,
            train=again,
            held_out=lambda net, held=held[here], mask=mask[here]: losses_of(net, held, mask)[0],
        ):
            entries, features = losses_of(module, x[here], mask[here])
            total = balancer(entries, anchor=features if at == "features" else net.trunk.weight)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
    state = {name: value.tolist() for name, value in balancer.player.state_dict().items()}
    return {"state": state, "parameters": torch.cat([p.detach().reshape(-1) for p in net.parameters()]).tolist()}


def static(at):
    """What a probe says outside a wrapped forward whose graph is static."""
    net = Net()
    module = DistributedDataParallel(net, static_graph=True)
    features, outs = module(torch.ones(8, 5))
    balancer = Balancer("abc", "gradnorm")
    losses = {n: out.square().mean() for n, out in zip("abc", outs, strict=True)}
    try:
        balancer(losses, anchor=features if at == "features" else net.trunk.weight)
    except SignalError as error:
        return str(error)
    return None


if __name__ == "__main__":
    ranks = int(sys.argv[1])
    if ranks > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if ranks > 1 else 0
    found = {
        f"{weighting}/{at}/{split}": train(weighting, at, split, rank, ranks)
        for weighting in sys.argv[2].split(",")
        for at in ("features", "parameters")
        for split in ("even", "uneven", "absent")
    }
    found |= ddp_ways.train_in_each_way(rank, ranks)
    if ranks > 1:
        found["mistakes"] = ddp_ways.mistakes()
        found["static"] = {at: static(at) for at in ("features", "parameters")}
    with open(f"{sys.argv[3]}/{ranks}-{rank}.json", "w") as file:
        json.dump(found, file)
    if ranks > 1:
        # What still refers to the group must be gone before it is.
        gc.collect()
        dist.destroy_process_group()
