"""A mixture of experts with two tasks: the tasks are balanced, and the load-balancing loss keeps a small base weight.

- Balance the tasks, `sum` and `product`.
- Leave `load` alone (`unbalanced`): it is not to be fitted. It is 1 when all experts have equal load, its least
  value, so a weighting that wants all losses to fall would raise its weight for ever. Its base weight is some
  hundredths of the tasks' losses at the start, which are about 30 here (Switch Transformer: 0.01 beside a loss
  of about 1).
- Safe: any weighting for the tasks. The load's gradient goes to the router; the tasks are compared at the
  experts' output.

    python examples/mixture_of_experts.py
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import autoloss

EXPERTS = 4


class Mixture(nn.Module):
    """Features [B, F] of the best expert of each sample, and the load-balancing loss (Switch Transformer, eq. 4)."""

    def __init__(self, inputs: int, width: int = 16) -> None:
        super().__init__()
        self.router = nn.Linear(inputs, EXPERTS)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(inputs, width), nn.Tanh()) for _ in range(EXPERTS))
        self.heads = nn.ModuleDict({"sum": nn.Linear(width, 1), "product": nn.Linear(width, 1)})

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        chance = self.router(x).softmax(1)
        best, chosen = chance.max(1)
        outputs = torch.stack([expert(x) for expert in self.experts], 1)
        features = best[:, None] * outputs[torch.arange(len(x)), chosen]
        share = nn.functional.one_hot(chosen, EXPERTS).float().mean(0)
        return features, EXPERTS * (share * chance.mean(0)).sum(), share


def train(steps: int = 400, seed: int = 0) -> dict[str, float]:
    """The errors of the tasks, the load of the busiest expert (1 / 4 is even), and the weights."""
    torch.manual_seed(seed)
    network = Mixture(2)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    balancer = autoloss.Balancer(
        ["sum", "product", "load"], "auto", base={"load": 2.0}, unbalanced=["load"], total_steps=steps
    )
    errors, share = {}, torch.zeros(EXPERTS)
    for _ in range(steps):
        x = 2 * torch.rand(128, 2) - 1
        targets = {"sum": 10 * x.sum(1), "product": x.prod(1)}
        features, load, share = network(x)
        errors = {name: (network.heads[name](features)[:, 0] - target).square() for name, target in targets.items()}
        optimizer.zero_grad()
        balancer({**errors, "load": load}, anchor=features).backward()
        optimizer.step()
    found = {f"{name} error": float(error.detach().mean()) for name, error in errors.items()}
    return {**found, "busiest": float(share.max()), **balancer.weights}


if __name__ == "__main__":
    print(train())
