"""Autoencoders of drawn pictures, with a KL term."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.problem import Outputs
from autoloss.meta.zoo.made import Batch, Made, MadeTask, weighed
from autoloss.meta.zoo.pictures import CLASSES, SIDE, drawn

CODE = 6  # numbers of the code


class Autoencoders(Made):
    """A variational autoencoder: the picture again, the KL divergence of its code, and what the picture shows.

    Args:
        style: of the pictures, "bars", "blobs" or "stripes".
        width: of encoder and decoder.
        classes: whether what the picture shows is told from the code, too.
    """

    use = "Learning a weighting rule."

    def __init__(self, style: str = "bars", width: int = 32, classes: bool = True) -> None:
        tasks = [MadeTask("pixels", "number", SIDE * SIDE)]
        tasks += [MadeTask("kind", "class", CLASSES[style])] if classes else []
        super().__init__(SIDE * SIDE, tasks, width, 1)
        self.style = style
        self.terms = {"kl": None, **self.terms}
        self.metrics = {"kl": "min", **self.metrics}

    def draw(self, generator: torch.Generator, count: int) -> dict[str, Tensor]:
        noise = float(torch.rand((), generator=generator)) * 0.3
        x, kind, _, clean = drawn(self.style, generator, count, noise)
        return {"x": x, "kind": kind, "pixels": clean, "draws": torch.randn(count, CODE, generator=generator)}

    def network(self) -> nn.Module:
        return nn.ModuleDict(
            {
                "trunk": nn.Sequential(nn.Linear(self.inputs, self.width), nn.ReLU()),
                "code": nn.Linear(self.width, 2 * CODE),
                "pixels": nn.Sequential(nn.Linear(CODE, self.width), nn.ReLU(), nn.Linear(self.width, self.inputs)),
                "kind": nn.Linear(CODE, CLASSES[self.style]),
            }
        )

    def outputs(self, network: Any, batch: Batch) -> Outputs:
        features = network["trunk"](batch["x"])
        mean, spread = network["code"](features).chunk(2, dim=1)
        spread = spread.clamp(-8, 8)
        code = mean + torch.exp(spread / 2) * batch["draws"]
        kl = 0.5 * (mean.square() + spread.exp() - 1 - spread).mean(1)
        predictions = {task.name: network[task.name](code) for task in self.tasks}
        values = {"kl": kl}
        values |= {task.name: task.loss(predictions[task.name], batch[task.name]) for task in self.tasks}
        errors = {"kl": kl.detach(), **self.errors(predictions, batch)}
        return Outputs(weighed(values, batch), anchor=features, extra=errors)
