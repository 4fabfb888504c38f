"""The two-loss toy in the plane (Nash-MTL, CAGrad, FAMO): from how many starts does a method reach the Pareto front?

float64, Adam 1e-3, 35,000 steps, five starts. Published outcome: the plain sum, PCGrad and CAGrad (c = 0.4) reach it
from four of them, MGDA, Nash-MTL and FAMO from all five. The front is y = -8.355 (about), -7 <= x <= 7.
"""

from __future__ import annotations

import argparse

import torch
from torch import Tensor

from autoloss import Balancer

STARTS = [(-8.5, 7.5), (0.0, 0.0), (9.0, 9.0), (-7.5, -0.5), (9.0, -1.0)]
SCALE, TINY = 0.1, 5e-6
FAMO = {"name": "famo", "gamma": 0.0, "lr": 0.025, "lowest": {"f1": -21 * SCALE, "f2": -21.0}}
METHODS = {
    "sum": ("equal", 4),
    "pcgrad": ("pcgrad", 4),
    "cagrad": ({"name": "cagrad", "c": 0.4}, 4),
    "mgda": ("mgda", 5),
    "nash_mtl": ("nash_mtl", 5),
    "famo": (FAMO, 5),
}


def losses(point: Tensor) -> dict[str, Tensor]:
    """The two losses at ``point`` [2]."""
    x, y = point
    u1 = torch.log(torch.clamp((0.5 * (-x - 7) - torch.tanh(-y)).abs(), min=TINY)) + 6
    u2 = torch.log(torch.clamp((0.5 * (-x + 3) + torch.tanh(-y) + 2).abs(), min=TINY)) + 6
    c1, c2 = torch.clamp(torch.tanh(0.5 * y), min=0), torch.clamp(torch.tanh(-0.5 * y), min=0)
    q1 = ((-x + 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    q2 = ((-x - 7) ** 2 + 0.1 * (-y - 8) ** 2) / 10 - 20
    return {"f1": SCALE * (u1 * c1 + q1 * c2), "f2": u2 * c1 + q2 * c2}


class Point(torch.nn.Module):
    """A point of the plane as a network's only parameter."""

    def __init__(self, start: tuple[float, float]) -> None:
        super().__init__()
        self.at = torch.nn.Parameter(torch.tensor(start, dtype=torch.float64))


def end(weighting: object, start: tuple[float, float], steps: int) -> tuple[float, float]:
    """Where ``weighting`` leads from ``start``."""
    point, balancer = Point(start), Balancer(["f1", "f2"], weighting)
    optimizer = torch.optim.Adam(point.parameters(), lr=1e-3, foreach=False)
    looks = balancer.player.looks_ahead(0)
    clips = looks  # FAMO's authors clip the gradient at 1

    def step() -> None:
        total = balancer(losses(point.at), anchor=point.at)
        optimizer.zero_grad()
        total.backward()
        if clips:
            torch.nn.utils.clip_grad_norm_(point.parameters(), 1.0)
        optimizer.step()

    for _ in range(steps):
        if looks:
            with balancer.lookahead(point, lambda net: losses(net.at)):
                step()
        else:
            step()
    x, y = point.at.tolist()
    return x, y


def main() -> None:
    """Print where every method ends, and how often on the front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--steps", type=int, default=35000)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| method | reached | published | ends |\n|---|---|---|---|", flush=True)
    for name in options.methods:
        weighting, published = METHODS[name]
        ends = [end(weighting, start, options.steps) for start in STARTS]
        reached = sum(abs(y + 8.355) < 0.3 and -7.1 <= x <= 7.1 for x, y in ends)
        where = " ".join(f"({x:.2f}, {y:.2f})" for x, y in ends)
        print(f"| {name} | {reached} of 5 | {published} of 5 | {where} |", flush=True)


if __name__ == "__main__":
    main()
