"""Targets that random networks give."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.meta.zoo.made import KNOWN, Made, MadeTask, random_network, standard


class Teachers(Made):
    """Several tasks whose targets are functions of the features of one random network.

    The kind of each task, how hard and how noisy it is, and its dimension are drawn with the data's seed.

    Args:
        kinds: for each task "number" or "class".
        width: of the trunk that learns.
        depth: of the trunk that learns.
        inputs: dimension of the samples.
        pure_noise: how many of the tasks, the last ones, have targets that do not depend on the samples.
        conflict: whether the second half of the tasks asks for functions of other features than the first half.
        late: whether tasks but the first have no targets in the first part of the training.
    """

    use = "Learning a weighting rule."

    def __init__(
        self,
        kinds: tuple[str, ...] = ("number", "number", "class"),
        width: int = 32,
        depth: int = 2,
        inputs: int = 12,
        pure_noise: int = 0,
        conflict: bool = False,
        late: bool = False,
    ) -> None:
        tasks = [
            MadeTask(f"task{i}", kind, (2, 3, 5)[i % 3] if kind == "class" else (1, 4, 2)[i % 3])
            for i, kind in enumerate(kinds)
        ]
        super().__init__(inputs, tasks, width, depth)
        self.pure_noise, self.conflict, self.late = pure_noise, conflict, late

    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        x = torch.randn(count, self.inputs, generator=generator)
        shared = [random_network(generator, [self.inputs, 24, 16], 1.5)(x) for _ in range(2)]
        columns = {"x": x}
        for i, task in enumerate(self.tasks):
            hardness = float(torch.rand((), generator=generator))
            noise = float(torch.rand((), generator=generator)) ** 2
            features = shared[1 if self.conflict and 2 * i >= len(self.tasks) else 0]
            clean = standard(random_network(generator, [16, 16, task.size], 0.5 + 2 * hardness)(features))
            if i >= len(self.tasks) - self.pure_noise:
                clean, noise = torch.zeros_like(clean), 1.0
            target = clean + noise * torch.randn(clean.shape, generator=generator)
            columns[task.name] = target.argmax(1) if task.kind == "class" else standard(target)
        if self.late:
            columns["start"] = 0.5 * torch.rand(len(self.tasks), generator=generator).expand(count, -1)
            columns["start"][:, 0] = 0.0
            columns[KNOWN] = torch.ones(count, len(self.tasks), dtype=torch.bool)
        return columns
