"""A sine in noise that grows: its middle and its upper bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from autoloss import Outputs, Problem, Term, require
from autoloss_template.quantile import Quantile


class _Network(nn.Module):
    """A trunk and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh())
        self.middle, self.upper = nn.Linear(32, 1), nn.Linear(32, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.trunk(x)
        return features, self.middle(features), self.upper(features)


class NoisySine(Problem):
    """Predicts the median of ``sin(3 x)`` in noise of width ``|x| / 2``, x in [-2, 2], and a bound above it.

    Args:
        samples: in the training split, at least 1; validation and test have a quarter each.
    """

    terms = {"middle": "mae", "upper": "template_quantile"}
    metrics = {"middle_mae": "min", "upper_pinball": "min"}
    recipe = {"optimizer": {"lr": 0.01}, "batch_size": 64, "trainer": {"max_epochs": 30}}
    use = "A first problem of one's own: data in memory, two heads, two losses."
    citation = "synthetic"

    def __init__(self, samples: int = 512) -> None:
        super().__init__()
        require(samples >= 1, "`samples` must be at least 1", f"samples={samples}")
        self.sizes = {"train": samples, "val": max(1, samples // 4), "test": max(1, samples // 4)}

    def datasets(self, seed: int) -> Mapping[str, Dataset[tuple[Tensor, ...]]]:
        source = torch.Generator().manual_seed(seed)
        tables = {}
        for split, size in self.sizes.items():
            x = 4 * torch.rand(size, 1, generator=source) - 2
            noise = torch.randn(size, 1, generator=source) * x.abs() / 2
            tables[split] = TensorDataset(x, torch.sin(3 * x) + noise)
        return tables

    def network(self) -> nn.Module:
        return _Network()

    def outputs(self, network: nn.Module, batch: Sequence[Tensor]) -> Outputs:
        x, y = batch
        features, middle, upper = network(x)
        return Outputs({"middle": Term(middle, y), "upper": Term(upper, y)}, anchor=features)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        middle, upper = outputs.term("middle"), outputs.term("upper")
        return {
            "middle_mae": (middle.prediction - middle.target).abs().flatten(),
            "upper_pinball": Quantile(q=0.9)(upper.prediction, upper.target),
        }
