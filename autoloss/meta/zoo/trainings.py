"""Trains a setting of the zoo with several weightings at once: all its problems, seeds and weightings in one fleet."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoloss.core.clock import Clock
from autoloss.core.errors import EmptySelectionWarning
from autoloss.core.problem import Outputs, Problem
from autoloss.meta.zoo.families import Setting
from autoloss.meta.zoo.made import KNOWN, SCALES
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.member import Member
from autoloss.training.step.build import build_weighting
from autoloss.training.step.player import Player

MOMENTUM = 0.9
# Added to every metric: what is much smaller counts for nothing, so that one wrong answer more or less does not.
WRONG, SQUARED = 0.01, 1e-3
WORST = 1e6  # a training that failed
Weightings = Sequence[str | Mapping[str, Any]]


class WithoutAnchor(Problem):
    """A problem that does not say where gradients could be compared."""

    def __init__(self, inner: Problem) -> None:
        super().__init__()
        self.inner, self.terms, self.metrics = inner, inner.terms, inner.metrics
        self.tasks = getattr(inner, "tasks", ())

    def datasets(self, seed: int) -> Mapping[str, Dataset[Any]]:
        return self.inner.datasets(seed)

    def network(self) -> nn.Module:
        return self.inner.network()

    def outputs(self, network: nn.Module, batch: Any) -> Outputs:
        return replace(self.inner.outputs(network, batch), anchor=None)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        return self.inner.measure(outputs)


def outcomes(setting: Setting, weightings: Weightings, starts: int = 1, anchored: bool = True) -> Tensor:
    """The metrics on validation data after each training, [weightings, problems, starts, metrics], all above 0.

    ``starts`` initial networks are tried for each problem, the same for all weightings; so is the order of the data.
    Unless it is ``anchored``, there is no place where gradients are compared.
    """
    if not anchored:
        setting = replace(setting, problem=WithoutAnchor(setting.problem))
    made, columns = _members(setting, weightings, starts)
    fleet, data = Fleet(made, compared=0), {split: _stacked(of) for split, of in columns.items()}
    order = torch.Generator().manual_seed(setting.seeds[0])
    epoch, rows = -1, torch.empty(0, dtype=torch.long)
    for step in range(setting.steps):
        if len(rows) < setting.batch:
            epoch, rows = epoch + 1, torch.randperm(next(iter(data["train"].values())).shape[1], generator=order)
        taken, rows = rows[: setting.batch], rows[setting.batch :]
        progress = step / setting.steps
        batch = {name: column.index_select(1, taken) for name, column in data["train"].items()}
        if KNOWN in batch:
            batch[KNOWN] = progress >= batch["start"]
        with warnings.catch_warnings():
            # Tasks that start late are absent on purpose.
            warnings.simplefilter("ignore", EmptySelectionWarning)
            fleet.micro_batch(batch, Clock(step, epoch, progress))
        fleet.step()
    return _measured(fleet, setting, data["val"]).view(len(weightings), len(setting.seeds), starts, -1)


def _members(
    setting: Setting, weightings: Weightings, starts: int
) -> tuple[list[Member], dict[str, list[Mapping[str, Tensor]]]]:
    made: list[Member] = []
    columns: dict[str, list[Mapping[str, Tensor]]] = {"train": [], "val": []}
    problem = setting.problem
    drawn = [problem.datasets(seed) for seed in setting.seeds]
    for weighting in weightings:
        for seed, rate, data in zip(setting.seeds, setting.rates, drawn, strict=True):
            for start in range(starts):
                with torch.random.fork_rng(devices=[]):
                    torch.manual_seed(seed + start)
                    network = problem.network()
                player = Player(list(problem.terms), build_weighting(weighting))
                train = data["train"].columns  # type: ignore[attr-defined]
                scale = 1.0 if setting.optimizer == "adam" else float(train[SCALES][0].sum())
                optimizer: torch.optim.Optimizer
                if setting.optimizer == "adam":
                    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
                else:
                    optimizer = torch.optim.SGD(network.parameters(), lr=rate / scale, momentum=MOMENTUM)
                made.append(Member(problem, network, {}, player, optimizer))
                for split, tables in columns.items():
                    tables.append(data[split].columns)  # type: ignore[attr-defined]
    return made, columns


def _stacked(columns: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([of[name] for of in columns]) for name in columns[0]}


def _measured(fleet: Fleet, setting: Setting, data: Mapping[str, Tensor]) -> Tensor:
    problem = setting.problem
    if KNOWN in data:
        data = {**data, KNOWN: torch.ones_like(data[KNOWN])}

    def one(model: Any, batch: Any) -> dict[str, Tensor]:
        outputs = problem.outputs(model.network, batch)
        return {name: values.float().mean() for name, values in problem.measure(outputs).items()}

    with torch.no_grad():
        found: dict[str, Tensor] = fleet.stacked.call(one, data)
    shares = {task.name for task in getattr(problem, "tasks", ()) if task.kind == "class"}
    columns = [values + (WRONG if name in shares else SQUARED) for name, values in found.items()]
    return torch.stack(columns, 1).nan_to_num(WORST, posinf=WORST).clamp(max=WORST)
