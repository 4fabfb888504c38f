"""Two real digits on one canvas: three losses of unlike scale."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from autoloss.core.errors import require
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.problems._tensors import Batch, TensorTable

SIDE, SHIFT = 12, 4
SPLITS = {"train": (0, 1000), "val": (1000, 1350), "test": (1350, 1797)}


class _Network(nn.Module):
    """A trunk 144-128-64 and three linear heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(SIDE * SIDE, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.left, self.right, self.pixels = nn.Linear(64, 10), nn.Linear(64, 10), nn.Linear(64, 64)

    def forward(self, canvas: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        features = self.trunk(canvas.flatten(1))
        return features, self.left(features), self.right(features), self.pixels(features)


class TwoDigits(Problem):
    """Says which digits lie at the left and at the right of a 12 x 12 canvas, and draws the right one alone.

    Two of scikit-learn's 8 x 8 digits, pixels in [0, 1], are overlaid (largest value) at the upper
    left and the lower right. Train, validation and test pairs come from disjoint source digits
    (1000, 350, 447). Losses: ``left`` and ``right`` (classification), ``pixels`` (reconstruction of
    the right digit), whose values differ by two orders of magnitude.

    Args:
        pairs: training pairs, at least 1; validation has a quarter and test half as many.
    """

    terms = {"left": "cross_entropy", "right": "cross_entropy", "pixels": "mse"}
    metrics = {"left_error": "min", "right_error": "min", "pixels_mse": "min"}
    # A network this small gains nothing from a second thread, and loses much where cores are shared.
    recipe = {"optimizer": {"lr": 0.012}, "batch_size": 128, "threads": 1, "trainer": {"max_epochs": 60}}
    use = "A first look: real data, three losses of unlike scale, a run in seconds."
    citation = "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; overlay after Sener, Koltun, NeurIPS 2018"

    def __init__(self, pairs: int = 4000) -> None:
        super().__init__()
        require(pairs >= 1, "`pairs` must be at least 1", f"pairs={pairs}")
        self.sizes = {"train": pairs, "val": max(1, pairs // 4), "test": max(1, pairs // 2)}

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32) / 16
        labels = torch.tensor(digits.target, dtype=torch.int64)
        # The file is sorted by writer: without one fixed permutation the splits would differ in kind.
        order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
        tables = {}
        for number, (split, (first, last)) in enumerate(SPLITS.items()):
            generator = torch.Generator().manual_seed(1000 + number)
            source = order[first:last]
            picked = source[torch.randint(len(source), (2, self.sizes[split]), generator=generator)]
            tables[split] = _overlay(images, labels, picked)
        return tables

    def network(self) -> nn.Module:
        return _Network()

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        features, left, right, pixels = network(batch["canvas"])
        terms = {
            "left": Term(left, batch["left"]),
            "right": Term(right, batch["right"]),
            "pixels": Term(pixels, batch["pixels"]),
        }
        return Outputs(terms, anchor=features)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        left, right, pixels = (outputs.term(name) for name in self.terms)
        return {
            "left_error": (left.prediction.argmax(1) != left.target).float(),
            "right_error": (right.prediction.argmax(1) != right.target).float(),
            "pixels_mse": (pixels.prediction - pixels.target).square().mean(1),
        }


def _overlay(images: Tensor, labels: Tensor, picked: Tensor) -> TensorTable:
    left, right = picked
    canvas = torch.zeros(len(left), SIDE, SIDE)
    canvas[:, : SIDE - SHIFT, : SIDE - SHIFT] = images[left]
    corner = canvas[:, SHIFT:, SHIFT:]
    corner.copy_(torch.maximum(corner, images[right]))
    return TensorTable(canvas=canvas, left=labels[left], right=labels[right], pixels=images[right].flatten(1))
