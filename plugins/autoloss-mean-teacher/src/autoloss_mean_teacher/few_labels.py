"""A problem with images of digits, few of which have a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from autoloss import Outputs, Problem, Term, require

SPLITS = {"train": (0, 1000), "val": (1000, 1350), "test": (1350, 1797)}


class FewLabels(Problem):
    """Classifies scikit-learn's 8 x 8 digits; in training only a few images of each class have a label.

    Half of the images in a training batch have a label, and these few images are repeated many times; the label of the
    other half is hidden. Noise is added to all of them, so that the network never sees the same image twice. A module
    with a teacher adds the term ``consistency``; other modules train on the labelled images only.

    Args:
        labels: number of labelled images of each class, 1 to 50.
        noise: standard deviation of the noise; pixels lie in [0, 1].
    """

    terms = {"label": "cross_entropy", "consistency": "consistency"}
    metrics = {"error": "min"}
    module = "mean_teacher"
    recipe = {
        "optimizer": {"lr": 0.003},
        "batch_size": 100,
        "trainer": {"max_epochs": 40},
        "base": {"consistency": 10.0},
        "threads": 1,
    }
    use = "Semi-supervised training: a supervised term and a consistency term."
    citation = "scikit-learn's digits (UCI), with labels left out"

    def __init__(self, labels: int = 4, noise: float = 0.3) -> None:
        super().__init__()
        require(1 <= labels <= 50, "`labels` must lie in 1 to 50", f"labels={labels}")
        require(noise >= 0, "`noise` must be at least 0", f"noise={noise}")
        self.labels, self.noise = labels, noise

    def datasets(self, seed: int) -> Mapping[str, Dataset[tuple[Tensor, ...]]]:
        from sklearn.datasets import load_digits

        found = load_digits()
        order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
        x = torch.tensor(found.images, dtype=torch.float32).flatten(1)[order] / 16
        y = torch.tensor(found.target, dtype=torch.int64)[order]
        tables = {}
        for split, (first, last) in SPLITS.items():
            tables[split] = TensorDataset(x[first:last], y[first:last])
        images, labels = tables["train"].tensors
        rows = self._labelled(labels, seed, len(labels))
        tables["train"] = TensorDataset(images, images[rows], labels[rows])
        return tables

    def _labelled(self, labels: Tensor, seed: int, size: int) -> Tensor:
        """The rows [size] of the labelled images, repeated until there are ``size``."""
        source = torch.Generator().manual_seed(seed)
        by_digit = [(labels == digit).nonzero().flatten() for digit in range(10)]
        chosen = [rows[torch.randperm(len(rows), generator=source)[: self.labels]] for rows in by_digit]
        return torch.cat(chosen).repeat(-(-size // (10 * self.labels)))[:size]

    def network(self) -> nn.Module:
        trunk = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Dropout(0.2))
        return nn.ModuleDict({"trunk": trunk, "head": nn.Linear(128, 10)})

    def outputs(self, network: nn.Module, batch: Sequence[Tensor]) -> Outputs:
        # A training batch begins with the images without labels; validation and test batches have only labelled images.
        *without, x, y = batch
        known = torch.arange(len(x) + sum(map(len, without)), device=x.device) < len(x)
        x, y = torch.cat([x, *without]), torch.cat([y, *(y.new_zeros(len(one)) for one in without)])
        if network.training:
            x = x + self.noise * torch.randn_like(x)
        features = network["trunk"](x)  # type: ignore[index]
        return Outputs({"label": Term(network["head"](features), y, known)}, anchor=features)  # type: ignore[index]

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        term = outputs.term("label")
        return {"error": (term.prediction.argmax(1) != term.target).float()}
