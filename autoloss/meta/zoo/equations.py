"""Differential equations with random coefficients, solved by small networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autoloss.core.problem import Outputs, Problem
from autoloss.meta.zoo.made import DECADES, SCALES, weighed
from autoloss.problems._field import Field, Jet
from autoloss.problems._tensors import TensorTable

Coefficients = Tensor  # [..., 4]
POINTS, GRID = 512, 24


@dataclass(frozen=True, slots=True)
class Equation:
    """An equation over x and t in [0, 1]: its residual, its solution, and whether it is of second order in t."""

    residual: Callable[[Jet, Tensor], Tensor]
    solution: Callable[[Tensor, Tensor, Tensor], Tensor]  # of x, t, coefficients
    second: bool = False


def _modes(x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Two sines with whole numbers of half-waves, and their wave numbers; ``c`` holds two of its numbers."""
    return math.pi * c[..., 1].mul(2).floor().add(1), math.pi * c[..., 2].mul(3).floor().add(2)


def _advected(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
    a, b = _modes(x, c)
    at = x - (0.3 + c[..., 0]) * t
    return torch.sin(2 * a * at) + c[..., 3] * torch.cos(b * at)


def _cooled(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
    a, b = _modes(x, c)
    rate = 0.02 + 0.1 * c[..., 0]
    return torch.sin(a * x) * torch.exp(-rate * a**2 * t) + c[..., 3] * torch.sin(b * x) * torch.exp(-rate * b**2 * t)


def _grown(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
    a, _ = _modes(x, c)
    start, growth = torch.exp(-4 * (x - 0.3 - 0.4 * c[..., 3]) ** 2 * a), torch.exp((1 + 5 * c[..., 0]) * t)
    return start * growth / (start * growth + 1 - start).clamp(min=1e-6)


def _waved(x: Tensor, t: Tensor, c: Tensor) -> Tensor:
    a, b = _modes(x, c)
    speed = 0.5 + c[..., 0]
    return torch.sin(a * x) * torch.cos(speed * a * t) + c[..., 3] * torch.sin(b * x) * torch.cos(speed * b * t)


EQUATIONS: Mapping[str, Equation] = {
    "advection": Equation(lambda u, c: u.first[1] + (0.3 + c[:, 0]) * u.first[0], _advected),
    "heat": Equation(lambda u, c: u.first[1] - (0.02 + 0.1 * c[:, 0]) * u.second[0], _cooled),
    "reaction": Equation(lambda u, c: u.first[1] - (1 + 5 * c[:, 0]) * u.value * (1 - u.value), _grown),
    "wave": Equation(lambda u, c: u.second[1] - (0.5 + c[:, 0]) ** 2 * u.second[0], _waved, second=True),
}


class Equations(Problem):
    """A small tanh network that solves an equation from its residual, its edges and its start.

    The losses have samples of their own, so the anchor is the network's parameters. The metric is the relative error on
    a grid.

    Args:
        equation: "advection", "heat", "reaction" or "wave".
        width: of the layers.
        depth: the number of layers.
    """

    use = "Learning a weighting rule."
    metrics = {"relative_l2": "min"}

    def __init__(self, equation: str = "advection", width: int = 16, depth: int = 3) -> None:
        super().__init__()
        self.of, self.width, self.depth = equation, width, depth
        names = ["residual", "edge", "start", *(["speed"] if EQUATIONS[equation].second else [])]
        self.terms = dict.fromkeys(names)

    def datasets(self, seed: int) -> dict[str, TensorTable]:
        generator = torch.Generator().manual_seed(seed)
        c = torch.rand(4, generator=generator).expand(POINTS, 4).clone()
        inside = torch.rand(POINTS, 2, generator=generator)
        edge = torch.rand(POINTS, 2, generator=generator)
        edge[:, 0] = (edge[:, 0] > 0.5).float()
        start = torch.rand(POINTS, 2, generator=generator)
        start[:, 1] = 0.0
        solution = EQUATIONS[self.of].solution
        decades = DECADES[int(torch.randint(2, (), generator=generator))] / 2
        scales = 10 ** (decades * (2 * torch.rand(len(self.terms), generator=generator) - 1))
        train = {
            "inside": inside,
            "edge": edge,
            "start": start,
            "at_edge": solution(edge[:, 0], edge[:, 1], c),
            "at_start": solution(start[:, 0], start[:, 1], c),
            "c": c,
            SCALES: scales.expand(POINTS, -1).clone(),
        }
        axis = torch.linspace(0, 1, GRID)
        grid = torch.cartesian_prod(axis, axis)
        exact = solution(grid[:, 0], grid[:, 1], c[:1])
        return {"train": TensorTable(**train), "val": TensorTable(points=grid[None], solution=exact[None])}

    def network(self) -> Field:
        return Field((0.0, 0.0), (1.0, 1.0), [self.width] * self.depth)

    def outputs(self, network: nn.Module, batch: Mapping[str, Tensor]) -> Outputs:
        assert isinstance(network, Field)
        if "solution" in batch:
            found = network(batch["points"].flatten(0, 1)).view_as(batch["solution"])
            error = (found - batch["solution"]).norm(dim=1) / batch["solution"].norm(dim=1)
            return Outputs({}, extra={"relative_l2": error.detach()})
        equation = EQUATIONS[self.of]
        values = {
            "residual": equation.residual(network.jet(batch["inside"]), batch["c"]).square(),
            "edge": (network(batch["edge"]) - batch["at_edge"]).square(),
        }
        if equation.second:
            start, slope = network.slopes(batch["start"])
            values |= {"start": (start - batch["at_start"]).square(), "speed": slope[1].square()}
        else:
            values |= {"start": (network(batch["start"]) - batch["at_start"]).square()}
        return Outputs(weighed(values, batch), anchor=list(network.parameters()))

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        return outputs.extra
