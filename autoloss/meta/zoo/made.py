"""A made-up problem: several tasks of different kinds on one trunk."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoloss.core.problem import Outputs, Problem
from autoloss.core.table import Entry
from autoloss.problems._tensors import TensorTable

Batch = Mapping[str, Tensor]
TRAIN, VAL = 512, 1024  # samples
SCALES = "scales"  # the column [N, K] of the factors that losses are multiplied by
KNOWN = "known"  # the column [N, K] that says where tasks have targets, if some have not
DECADES = (0.0, 1.0, 3.0)  # the scales of a problem's losses lie within so many decades around 1


@dataclass(frozen=True, slots=True)
class MadeTask:
    """One loss: ``kind`` is "number" (squared error of ``size`` numbers) or "class" (cross entropy of ``size``)."""

    name: str
    kind: str
    size: int

    def loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of each sample, [B]."""
        if self.kind == "class":
            return functional.cross_entropy(prediction, target, reduction="none")
        return (prediction - target).square().mean(1)

    def error(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The metric of each sample, [B]: wrong or not, or the squared error."""
        if self.kind == "class":
            return (prediction.argmax(1) != target).float()
        return (prediction - target).square().mean(1)


class Made(Problem):
    """Draws data by a seed, and predicts all tasks from the features of one trunk.

    A subclass draws a table: the column ``x`` [N, D] and one for each task. Each loss is multiplied by a factor that is
    drawn too, so that scales differ as they do in practice, and metrics are measured without it.
    """

    def __init__(self, inputs: int, tasks: Sequence[MadeTask], width: int, depth: int) -> None:
        super().__init__()
        self.inputs, self.tasks, self.width, self.depth = inputs, tuple(tasks), width, depth
        self.terms = {task.name: None for task in self.tasks}
        self.metrics = {task.name: "min" for task in self.tasks}

    @abstractmethod
    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        """``count`` samples: ``x`` [N, inputs] and a target for each task, [N, size] or classes [N]."""

    def datasets(self, seed: int) -> dict[str, TensorTable]:
        generator = torch.Generator().manual_seed(seed)
        columns = self.draw(generator, TRAIN + VAL)
        decades = DECADES[int(torch.randint(len(DECADES), (), generator=generator))]
        scales = 10 ** (decades * (2 * torch.rand(len(self.terms), generator=generator) - 1))
        columns[SCALES] = scales.expand(TRAIN + VAL, -1).clone()
        return {
            "train": TensorTable(**{name: of[:TRAIN] for name, of in columns.items()}),
            "val": TensorTable(**{name: of[TRAIN:] for name, of in columns.items()}),
        }

    def network(self) -> nn.Module:
        sizes = [self.inputs, *[self.width] * self.depth]
        layers = [part for a, b in pairwise(sizes) for part in (nn.Linear(a, b), nn.ReLU())]
        heads = {task.name: nn.Linear(self.width, task.size) for task in self.tasks}
        return nn.ModuleDict({"trunk": nn.Sequential(*layers), **heads})

    def outputs(self, network: Any, batch: Batch) -> Outputs:
        features = network["trunk"](batch["x"])
        predictions = {task.name: network[task.name](features) for task in self.tasks}
        values = {task.name: task.loss(predictions[task.name], batch[task.name]) for task in self.tasks}
        return Outputs(weighed(values, batch), anchor=features, extra=self.errors(predictions, batch))

    def errors(self, predictions: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """The metrics of each sample."""
        return {task.name: task.error(predictions[task.name].detach(), batch[task.name]) for task in self.tasks}

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        return outputs.extra


def weighed(values: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor | Entry]:
    """The losses times their factors; where the batch says which are known, the others are absent."""
    scales, known = batch[SCALES], batch.get(KNOWN)
    found: dict[str, Tensor | Entry] = {}
    for k, (name, of) in enumerate(values.items()):
        scaled = of * scales[:, k]
        found[name] = scaled if known is None else Entry(scaled, known[:, k])
    return found


def standard(x: Tensor) -> Tensor:
    """``x`` [N, ...] with mean 0 and variance 1."""
    return (x - x.mean(0)) / x.std(0).clamp(min=1e-6)


def random_network(generator: torch.Generator, sizes: Sequence[int], gain: float) -> Any:
    """A fixed random tanh network as a function of [N, sizes[0]]."""
    weights = [gain * torch.randn(a, b, generator=generator) / a**0.5 for a, b in pairwise(sizes)]

    def call(x: Tensor) -> Tensor:
        for weight in weights[:-1]:
            x = (x @ weight).tanh()
        return x @ weights[-1]

    return call
