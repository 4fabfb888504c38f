"""Run on two ranks: trains with every weighting, of which rank 0 alone, or every rank, is given a `log_dir`."""

import json
import sys
import warnings
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from autoloss import Balancer
from autoloss.core.registry.lookup import registry
from autoloss.core.surgery import Surgery

# What a weighting must be given.
GIVEN = {"gradient_cosine": {"main": "a"}, "ol_aux": {"main": "a"}, "vqgan": {"adversarial": "b"}}
STEPS = 4


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.heads = nn.Linear(5, 4), nn.ModuleList([nn.Linear(4, 1) for _ in range(2)])

    def forward(self, x):
        features = self.trunk(x)
        return features, [head(features) for head in self.heads]


def train(weighting, who, place, rank):
    net = Net()
    module = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    mine = place if who == "all" or rank == 0 else None
    balancer = Balancer("ab", weighting, log_dir=mine, record_every=1, probe_every=2, total_steps=STEPS)
    generator = torch.Generator().manual_seed(rank)

    def losses_of(net, x):
        features, outs = net(x)
        return {n: (out.square() + 0.1).mean(1) for n, out in zip("ab", outs, strict=True)}, features

    for _ in range(STEPS):
        x, held = torch.randn(8, 5, generator=generator), torch.randn(8, 5, generator=generator)
        with balancer.lookahead(
            module,
            optimizer,
            train=lambda net, x=x: losses_of(net, x)[0],
            held_out=lambda net, x=held: losses_of(net, x)[0],
        ):
            if isinstance(balancer.player.weighting, Surgery):
                features = net.trunk(x)
                fork = balancer.fork(features)
                losses = {n: (h(fork[n]).square() + 0.1).mean(1) for n, h in zip("ab", net.heads, strict=True)}
                total = balancer(losses, anchor=fork)
            else:
                losses, features = losses_of(module, x)
                total = balancer(losses, anchor=features)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        if mine is not None or who == "one":
            balancer.measured({"error": 1.0}, {"error": "min"})
    balancer.close()
    return balancer.weights


if __name__ == "__main__":
    out = Path(sys.argv[1])
    warnings.filterwarnings("ignore")
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    found = {}
    for name in registry.names("weighting"):
        for who in ("one", "all"):
            given = {"name": name, **GIVEN.get(name, {})}
            found[f"{name} {who}"] = train(given, who, out / who / name, rank)
    (out / f"{rank}.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()
