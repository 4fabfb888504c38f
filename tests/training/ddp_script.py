"""Run by torch.distributed.run: trains on a share of each batch and prints what was learned."""

import gc
import json
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autoloss import Balancer, Entry


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.heads = nn.Linear(5, 4), nn.ModuleList([nn.Linear(4, 3) for _ in range(3)])

    def forward(self, x):
        features = self.trunk(x)
        return features, [head(features) for head in self.heads]


def train(weighting, at, uneven, rank, ranks):
    net = Net()
    module = DistributedDataParallel(net) if ranks > 1 else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    balancer = Balancer("abc", weighting)
    generator = torch.Generator().manual_seed(1)
    for _ in range(6):
        x = torch.randn(16, 5, generator=generator)
        mask = torch.rand(16, generator=generator) > 0.5
        cut = 11 if uneven else 8
        here = slice(None) if ranks == 1 else (slice(0, cut), slice(cut, 16))[rank]
        features, outs = module(x[here])
        entries = {n: Entry(out.square().mean(1) * 4**k) for k, (n, out) in enumerate(zip("abc", outs, strict=True))}
        entries["b"] = Entry(entries["b"].values, mask[here])
        total = balancer(entries, anchor=features if at == "features" else net.trunk.weight)
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
    found = {
        f"{weighting}/{at}/{uneven}": train(weighting, at, uneven, rank, ranks)
        for weighting in sys.argv[2].split(",")
        for at in ("features", "parameters")
        for uneven in (False, True)
    }
    with open(f"{sys.argv[3]}/{ranks}-{rank}.json", "w") as file:
        json.dump(found, file)
    if ranks > 1:
        # What still refers to the group must be gone before it is.
        gc.collect()
        dist.destroy_process_group()
