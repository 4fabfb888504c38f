"""The two-loss toy in the plane (Nash-MTL, CAGrad, FAMO): from how many starts does a method reach the Pareto front?

float64, Adam 1e-3, five starts. Published outcome: the plain sum, PCGrad and CAGrad (c = 0.4) reach it from four of
them, MGDA, Nash-MTL and FAMO from all five. The front is y = -8.355 (about), -7 <= x <= 7. Nash-MTL's authors stop at
35,000 steps, when the sum is still on its way to the front from one start; FAMO's at 50,000. Both are shown.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

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


def ends(weighting: object, start: tuple[float, float], steps: Sequence[int]) -> list[tuple[float, float]]:
    """Where ``weighting`` has led from ``start`` after each number of ``steps``, which ascend."""
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

    found = []
    for done in range(1, steps[-1] + 1):
        if looks:
            with balancer.lookahead(point, train=lambda net: losses(net.at)):
                step()
        else:
            step()
        if done in steps:
            x, y = point.at.tolist()
            found.append((x, y))
    return found


def row(name: str, steps: Sequence[int]) -> str:
    """A line of the table."""
    weighting, published = METHODS[name]
    by_start = [ends(weighting, start, steps) for start in STARTS]
    cells = []
    for points in zip(*by_start, strict=True):
        reached = sum(abs(y + 8.355) < 0.3 and -7.1 <= x <= 7.1 for x, y in points)
        cells += [f"{reached} of 5", " ".join(f"({x:.2f}, {y:.2f})" for x, y in points)]
    return f"| {name} | {published} of 5 | " + " | ".join(cells) + " |"


def main() -> None:
    """Print where every method ends, and how often on the front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=list(METHODS))
    parser.add_argument("--steps", type=int, nargs="+", default=[35_000, 50_000])
    options = parser.parse_args()
    torch.set_num_threads(1)
    steps = sorted(options.steps)
    print("| method | published | " + " | ".join(f"reached by {n} | where" for n in steps) + " |")
    print("|---" * (2 + 2 * len(steps)) + "|", flush=True)
    for name in options.methods:
        print(row(name, steps), flush=True)


if __name__ == "__main__":
    main()
