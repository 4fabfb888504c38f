"""A variational autoencoder: reconstructions are balanced, and the KL term keeps a base weight that warms up.

- Balance the reconstructions, `level` and `slope` (a signal and its differences): they have units of their own.
- Leave `kl` alone (`unbalanced`): with the likelihood it is a bound, in which its weight is 1 (or beta). A
  weighting that goes by progress would let it collapse to 0, or blow it up when it is near 0. Its base weight
  rises from 0, so that the code is used before it is paid for. To hold it at a value instead, give it a bound.
- Safe: any weighting of the reconstructions whose weights sum to their number; else beta is another one in
  effect.

    python examples/vae.py
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import autoloss

LENGTH, CODE = 16, 2


def signals(size: int) -> Tensor:
    """Sine waves of random phase and size, [size, length]."""
    phase, height = 2 * math.pi * torch.rand(size, 1), 0.5 + torch.rand(size, 1)
    return height * torch.sin(torch.linspace(0, 2 * math.pi, LENGTH) + phase)


def train(steps: int = 500, seed: int = 0) -> dict[str, float]:
    """The error of the reconstruction, the KL term in nats, and the weights."""
    torch.manual_seed(seed)
    encoder = nn.Sequential(nn.Linear(LENGTH, 32), nn.Tanh(), nn.Linear(32, 2 * CODE))
    decoder = nn.Sequential(nn.Linear(CODE, 32), nn.Tanh(), nn.Linear(32, LENGTH))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.01)
    balancer = autoloss.Balancer(
        ["level", "slope", "kl"], "auto", base={"kl": "linear(0,0.01,0,0.5)"}, unbalanced=["kl"], total_steps=steps
    )
    losses: dict[str, Tensor] = {}
    for _ in range(steps):
        x = signals(128)
        mean, spread = encoder(x).chunk(2, 1)
        code = mean + spread.exp() * torch.randn_like(mean)
        drawn = decoder(code)
        losses = {
            "level": (drawn - x).square().mean(1),
            "slope": (drawn.diff(dim=1) - x.diff(dim=1)).square().mean(1),
            "kl": 0.5 * (mean.square() + (2 * spread).exp() - 1 - 2 * spread).sum(1),
        }
        optimizer.zero_grad()
        balancer(losses, anchor={"level": drawn, "slope": drawn, "kl": drawn}).backward()
        optimizer.step()
    means = {name: float(loss.detach().mean()) for name, loss in losses.items()}
    return {"error": means["level"], "nats": means["kl"], **balancer.weights}


if __name__ == "__main__":
    print(train())
