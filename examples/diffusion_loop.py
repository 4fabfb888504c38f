"""A diffusion model in a loop of one's own, whose noise levels are weighed by `autoloss.Balancer`.

Points of a ring are made from noise. The network says where a point was before noise was added (x0), as EDM's denoiser
does; the weight of a sample depends on its level, the noise's size.

    python examples/diffusion_loop.py
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

import autoloss


def ring(count: int) -> Tensor:
    """Points [count, 2] at a distance of 1 from the origin."""
    angle = 2 * math.pi * torch.rand(count)
    return torch.stack([angle.cos(), angle.sin()], 1)


def denoised(network: nn.Module, seen: Tensor, level: Tensor) -> Tensor:
    """Where the points ``seen = x0 + level * noise`` [N, 2] were, says ``network``; ``level`` is [N]."""
    log, scaled = level.log()[:, None], seen / (0.5 + level**2).sqrt()[:, None]
    return network(torch.cat([scaled, log, log.sin(), log.cos()], 1))


def made(network: nn.Module, count: int, steps: int = 20) -> Tensor:
    """Points [count, 2] from noise, by DDIM through EDM's levels."""
    levels = torch.linspace(20 ** (1 / 7), 0.02 ** (1 / 7), steps) ** 7
    x = levels[0] * torch.randn(count, 2)
    with torch.no_grad():
        for now, after in pairwise([*levels, torch.zeros(())]):
            x = x + (after - now) * (x - denoised(network, x, now.expand(count))) / now
    return x


def train(sample_weighting: str = "min_snr", steps: int = 1500, seed: int = 0) -> dict[str, float]:
    """The mean distance of the points that are made from the ring."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Linear(5, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    rule = {"name": sample_weighting}
    if sample_weighting in ("min_snr", "edm", "p2", "sigmoid"):
        rule["target"] = "x0"  # or "epsilon", or "v": what the network predicts
    balancer = autoloss.Balancer(["x0"], sample_weighting=rule, total_steps=steps)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        clean, level = ring(128), (1.2 * torch.randn(128) - 1.2).exp()
        seen = clean + level[:, None] * torch.randn(128, 2)
        errors = (denoised(network, seen, level) - clean).square().mean(1)  # one for each sample
        optimizer.zero_grad()
        # Where alpha * x0 + sigma * noise is seen, the level is sigma / alpha.
        balancer({"x0": errors}, keys={"level": level}).backward()
        optimizer.step()
        schedule.step()
    return {"distance": float((made(network, 1000).norm(dim=1) - 1).abs().mean())}


if __name__ == "__main__":
    for name in ("uniform", "min_snr", "level_uncertainty"):
        print(f"{name}: points lie {train(name)['distance']:.4f} from the ring, of radius 1")
