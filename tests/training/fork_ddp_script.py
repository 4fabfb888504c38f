"""Run by torch.distributed.run: trains through a fork on a share of each batch and writes what was learned."""

import json
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autoloss import Balancer, Entry, Need, Weighting

CASES = [(weighting, uneven, "plain") for weighting in ("mgda", "uncertainty", "remembering") for uneven in (0, 1)]
CASES += [("gradnorm", 1, "find_unused"), ("gradnorm", 0, "static_graph"), ("graddrop", 0, "plain")]
CASES += [("mgda", 1, "parameters"), ("remembering", 0, "parameters")]
OPTIONS = {
    "find_unused": {"find_unused_parameters": True},
    "static_graph": {"static_graph": True},
    "plain": {},
    "parameters": {},
}


class Remembering(Weighting):
    """Keeps what was measured."""

    needs = Need.GRAM | Need.STATS

    def allocate(self, size):
        self.add_state("gram", torch.zeros(size, size), axes=2)
        self.add_state("stats", torch.zeros(size, 3), axes=1)

    def forward(self, signals):
        return signals.values.new_ones(len(signals.names))

    def update(self, signals):
        self.gram.copy_(signals.gram)
        self.stats.copy_(torch.stack([signals.stats.item_norm, signals.stats.largest, signals.stats.mean], 1))


class Net(nn.Module):
    """Forks inside of its forward, as DDP wants it."""

    def __init__(self, fork):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.heads = nn.Linear(5, 4), nn.ModuleDict({name: nn.Linear(4, 3) for name in "abc"})
        self.unused = nn.Linear(1, 1)
        self.fork = fork

    def forward(self, x):
        fork = self.fork(torch.tanh(self.trunk(x)))
        return {name: head(fork[name]) for name, head in self.heads.items()}, fork


def train(weighting, uneven, wrapped, rank, ranks):
    balancer = Balancer("abc", Remembering() if weighting == "remembering" else weighting)
    at = "parameters" if wrapped == "parameters" else "features"
    net = Net(lambda features: balancer.fork(features, at))
    if wrapped in ("plain", "parameters"):
        del net.unused
    # Buckets of one parameter each: as many reductions as can be, in between ours.
    module = DistributedDataParallel(net, bucket_cap_mb=1e-6, **OPTIONS[wrapped]) if ranks > 1 else net
    optimizer = torch.optim.SGD([*net.trunk.parameters(), *net.heads.parameters()], lr=0.01)
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        x = torch.randn(16, 5, generator=generator)
        mask = torch.rand(16, generator=generator) > 0.5
        cut = 11 if uneven else 8
        here = slice(None) if ranks == 1 else (slice(0, cut), slice(cut, 16))[rank]
        outs, fork = module(x[here])
        entries = {n: Entry(out.square().mean(1) * 4**k) for k, (n, out) in enumerate(outs.items())}
        entries["b"] = Entry(entries["b"].values, mask[here])
        total = balancer(entries, anchor=fork)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    state = {name: value.tolist() for name, value in balancer.player.state_dict().items()}
    return {"state": state, "parameters": torch.cat([p.detach().reshape(-1) for p in net.parameters()]).tolist()}


if __name__ == "__main__":
    ranks = int(sys.argv[1])
    if ranks > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if ranks > 1 else 0
    found = {"/".join(map(str, case)): train(*case, rank, ranks) for case in CASES}
    with open(f"{sys.argv[2]}/{ranks}-{rank}.json", "w") as file:
        json.dump(found, file)
    if ranks > 1:
        dist.destroy_process_group()
