"""Made-up tables with several targets."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.meta.zoo.made import Made, MadeTask, standard


class Tables(Made):
    """Correlated columns, some of them yes or no; each target is a sum of steps and products of a few columns.

    A target's noise grows with one of the columns. Targets are numbers, or the part of the range that a number lies in.

    Args:
        kinds: for each target "number" or "class".
        inputs: columns.
        width: of the trunk.
        depth: of the trunk.
        skewed: whether numbers are the exponentials of what is described above.
    """

    use = "Learning a weighting rule."

    def __init__(
        self,
        kinds: tuple[str, ...] = ("number", "class"),
        inputs: int = 16,
        width: int = 32,
        depth: int = 2,
        skewed: bool = False,
    ) -> None:
        tasks = [MadeTask(f"target{i}", kind, 3 if kind == "class" else 1) for i, kind in enumerate(kinds)]
        super().__init__(inputs, tasks, width, depth)
        self.skewed = skewed

    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        hidden = torch.randn(count, 4, generator=generator)
        x = hidden @ torch.randn(4, self.inputs, generator=generator)
        x = standard(x + torch.randn(count, self.inputs, generator=generator))
        x[:, ::3] = standard((x[:, ::3] > 0).float())
        columns = {"x": x}
        for task in self.tasks:
            chosen = torch.randperm(self.inputs, generator=generator)[:6]
            place, height = torch.randn(6, generator=generator), torch.randn(6, generator=generator)
            y = ((x[:, chosen] > place).float() * height).sum(1) + x[:, chosen[0]] * x[:, chosen[1]]
            spread = float(torch.rand((), generator=generator)) * torch.exp(0.5 * x[:, chosen[2]])
            y = standard(standard(y) + spread * torch.randn(count, generator=generator))
            if task.kind == "class":
                columns[task.name] = (y > -0.4).long() + (y > 0.6).long()
            else:
                columns[task.name] = standard(y.exp().clamp(max=20) if self.skewed else y)[:, None]
        return columns
