"""Differential equations that a network is trained to solve: residual, boundary and initial losses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from autoloss.core.problem import Outputs, Problem, Term
from autoloss.problems._drawing import Drawing, ResampledPoints
from autoloss.problems._field import Field
from autoloss.problems._tensors import Batch, TensorTable

RECIPE = {"optimizer": {"lr": 0.001}, "batch_size": 128, "threads": 1, "trainer": {"max_epochs": 100}}


class Physics(Problem):
    """A field over a box, found from its equation alone.

    A training batch has B points inside, B on the boundary, and B at the initial time if there is one, drawn uniformly
    with the run's seed. Kept points are drawn once, so that rules for points know them by their index; resampled points
    are new in each batch and have no index. With a time they have the key ``time``. The losses have disjoint samples,
    so the anchor is the network's parameters. ``val`` and ``test`` are one sample each: all points at which the
    solution is known; the metric is ``|u - solution| / |solution|``, the relative L2 error over them.
    """

    low: ClassVar[tuple[float, float]]
    high: ClassVar[tuple[float, float]]
    walls: ClassVar[tuple[int, ...]] = (0,)  # axes at whose ends the boundary lies
    terms = {"residual": "mse", "boundary": "mse", "initial": "mse"}
    metrics = {"relative_l2": "min"}
    recipe = RECIPE

    def __init__(self, hidden: Sequence[int], points: int | str) -> None:
        super().__init__()
        self.hidden, self.points = tuple(hidden), Drawing.read(points)
        self.renewed = "" if self.points.kept else "problem.points=kept"
        Field(self.low, self.high, self.hidden)  # raises if `hidden` is wrong

    @abstractmethod
    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        """What must hold at the points ``interior``, ``boundary`` and ``initial`` of ``batch``, [B, 2] each."""

    @abstractmethod
    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        """For ``val`` and ``test`` points [N, 2] and the solution there, [N] or [N, C]; no point is in both."""

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        known = {
            split: TensorTable(points=points.float()[None], solution=solution.float()[None])
            for split, (points, solution) in self.solutions().items()
        }
        return {"train": self._train(seed), **known}

    def network(self) -> Field:
        return Field(self.low, self.high, self.hidden)

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        if "solution" not in batch:
            terms = self.equations(network, batch)  # type: ignore[arg-type]
            return Outputs(terms, list(network.parameters()), index=batch.get("index"), keys=self._times(terms, batch))
        field = self.known(network(batch["points"].flatten(0, 1))).view_as(batch["solution"])
        return Outputs({}, extra={"field": field, "solution": batch["solution"]})

    def _times(self, terms: Iterable[str], batch: Batch) -> dict[str, Tensor]:
        """The key ``time`` of each term's points; none for an equation without time."""
        if "initial" not in self.terms:
            return {}
        where = {"residual": "interior", "boundary": "boundary"}
        return {f"{term}.time": batch[where.get(term, "initial")][:, 1] for term in terms}

    def known(self, field: Tensor) -> Tensor:
        """What of the network's field is compared with the solution: all of it."""
        return field

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        """The error of each grid; empty for points where no solution is known."""
        if not outputs.extra:
            return {"relative_l2": torch.zeros(0)}
        field, solution = (outputs.extra[name].flatten(1) for name in ("field", "solution"))
        return {"relative_l2": (field - solution).norm(dim=1) / solution.norm(dim=1)}

    def _train(self, seed: int) -> TensorTable:
        count = self.points.count
        if not self.points.kept:
            return ResampledPoints(self._draw, count, seed)
        return TensorTable(**self._draw(count, torch.Generator().manual_seed(seed)), index=torch.arange(count))

    def _draw(self, count: int, generator: torch.Generator) -> dict[str, Tensor]:
        """``count`` points of each kind, [count, 2]."""
        boundary = self._inside(count, generator)
        axis = torch.tensor(self.walls)[torch.randint(len(self.walls), (count,), generator=generator)]
        side = torch.randint(2, (count,), generator=generator)
        ends = torch.tensor([self.low, self.high])
        boundary[torch.arange(count), axis] = ends[side, axis]
        columns = {"interior": self._inside(count, generator), "boundary": boundary}
        if "initial" in self.terms:
            columns["initial"] = self._inside(count, generator)
            columns["initial"][:, 1] = self.low[1]
        return columns

    def _inside(self, count: int, generator: torch.Generator) -> Tensor:
        low, high = torch.tensor(self.low), torch.tensor(self.high)
        return low + (high - low) * torch.rand(count, 2, generator=generator)


def grid(low: Sequence[float], high: Sequence[float], count: int) -> Tensor:
    """The points [count^2, 2] of an even grid in the box, its ends included (float64: solutions are exact)."""
    axes = [torch.linspace(a, b, count, dtype=torch.float64) for a, b in zip(low, high, strict=True)]
    return torch.cartesian_prod(*axes)
