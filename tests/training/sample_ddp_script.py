"""Run by torch.distributed.run: weighs samples on a share of each batch and writes what was learned."""

import gc
import json
import sys

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from autoloss import Balancer, Entry

SIZE = 40


def train(rule, rank, ranks):
    torch.manual_seed(0)
    net = nn.Linear(5, 3)
    module = DistributedDataParallel(net) if ranks > 1 else net
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    balancer = Balancer(["a"], "equal", sample_weighting=rule, samples=SIZE, total_steps=6)
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(SIZE, 5, generator=generator), torch.randint(3, (SIZE,), generator=generator)
    for step in range(6):
        index = torch.randperm(SIZE, generator=generator)[:16]
        # In step 3 one rank has no sample of the loss.
        mask = torch.ones(16, dtype=torch.bool) if step != 3 else torch.arange(16) < 8
        here = slice(None) if ranks == 1 else (slice(0, 8), slice(8, 16))[rank]
        index, mask = index[here], mask[here]
        logits = balancer.temper("a", module(x[index]), index, y[index])
        losses = functional.cross_entropy(logits, y[index], reduction="none")
        total = balancer({"a": Entry(losses, mask, labels=y[index])}, index=index)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    state = {name: value.tolist() for name, value in balancer.player.samples.state_dict().items()}
    return {"state": state, "parameters": net.weight.detach().reshape(-1).tolist()}


if __name__ == "__main__":
    ranks = int(sys.argv[1])
    if ranks > 1:
        dist.init_process_group("gloo")
    rank = dist.get_rank() if ranks > 1 else 0
    found = {rule: train(rule, rank, ranks) for rule in sys.argv[2].split(",")}
    with open(f"{sys.argv[3]}/{ranks}-{rank}.json", "w") as file:
        json.dump(found, file)
    if ranks > 1:
        # What still refers to the group must be gone before it is.
        gc.collect()
        dist.destroy_process_group()
