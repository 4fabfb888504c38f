"""Two real digits on one canvas: three losses of different scales."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from autoloss.core.errors import require
from autoloss.core.problem import Branch, Outputs, Problem, Term
from autoloss.core.table import Anchor
from autoloss.problems._digits import SPLITS, digits, order
from autoloss.problems._tensors import Batch, TensorTable, folds

SIDE, SHIFT = 12, 4


def _shared(features: Tensor) -> tuple[Mapping[str, Tensor], Anchor]:
    return dict.fromkeys(("left", "right", "pixels"), features), features


class _Network(nn.Module):
    """A trunk 144-128-64 and three linear heads, each on what ``branch`` gives it of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(SIDE * SIDE, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU())
        self.left, self.right, self.pixels = nn.Linear(64, 10), nn.Linear(64, 10), nn.Linear(64, 64)

    def forward(self, canvas: Tensor, branch: Branch = _shared) -> tuple[Any, Tensor, Tensor, Tensor]:
        of, anchor = branch(self.trunk(canvas.flatten(1)))
        return anchor, self.left(of["left"]), self.right(of["right"]), self.pixels(of["pixels"])


class _Pairs(TensorTable):
    """Pairs of the digits ``source``."""

    def __init__(self, source: Tensor, **columns: Tensor) -> None:
        super().__init__(**columns)
        self.source = source


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
    use = "A first look: real data, three losses of different scales, a run in seconds."
    citation = "Digits: Alpaydin, Kaynak (UCI, 1998), by scikit-learn; overlay after Sener, Koltun, NeurIPS 2018"

    def __init__(self, pairs: int = 4000) -> None:
        super().__init__()
        require(pairs >= 1, "`pairs` must be at least 1", f"pairs={pairs}")
        self.sizes = {"train": pairs, "val": max(1, pairs // 4), "test": max(1, pairs // 2)}

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        shuffled = order()
        sources = {split: shuffled[first:last] for split, (first, last) in SPLITS.items()}
        return {split: self._pairs(split, source, 1000 + i) for i, (split, source) in enumerate(sources.items())}

    def folds(self, count: int, seed: int) -> list[Mapping[str, TensorTable]]:
        """The datasets of a ``count``-fold cross-validation; in each, train and val have no source digit in common."""
        test = self.datasets(seed)["test"]
        return [
            {"train": self._pairs("train", train, 2000 + i), "val": self._pairs("val", val, 3000 + i), "test": test}
            for i, (train, val) in enumerate(folds(order()[: SPLITS["val"][1]], count, seed))
        ]

    def hold_out(self, train: Dataset[Any], share: float, seed: int) -> tuple[TensorTable, TensorTable]:
        """Pairs of a ``share`` of the source digits, and pairs of the others: they have no digit in common."""
        assert isinstance(train, _Pairs)
        shuffled = train.source[torch.randperm(len(train.source), generator=torch.Generator().manual_seed(seed))]
        held, pairs = max(2, round(share * len(shuffled))), max(1, round(share * len(train)))
        return (
            self._draw(shuffled[held:], len(train) - pairs, 4000 + seed),
            self._draw(shuffled[:held], pairs, 5_004_000 + seed),
        )

    def network(self) -> nn.Module:
        return _Network()

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        anchor, left, right, pixels = network(batch["canvas"], self.branch)
        terms = {
            "left": Term(left, batch["left"]),
            "right": Term(right, batch["right"]),
            "pixels": Term(pixels, batch["pixels"]),
        }
        return Outputs(terms, anchor=anchor)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        left, right, pixels = (outputs.term(name) for name in self.terms)
        return {
            "left_error": (left.prediction.argmax(1) != left.target).float(),
            "right_error": (right.prediction.argmax(1) != right.target).float(),
            "pixels_mse": (pixels.prediction - pixels.target).square().mean(1),
        }

    def _pairs(self, split: str, source: Tensor, seed: int) -> TensorTable:
        """As many pairs as ``split`` has, drawn from the digits ``source``."""
        return self._draw(source, self.sizes[split], seed)

    def _draw(self, source: Tensor, pairs: int, seed: int) -> TensorTable:
        images, labels = digits()
        generator = torch.Generator().manual_seed(seed)
        picked = source[torch.randint(len(source), (2, pairs), generator=generator)]
        return _Pairs(source, **_overlay(images, labels, picked))


def _overlay(images: Tensor, labels: Tensor, picked: Tensor) -> dict[str, Tensor]:
    left, right = picked
    canvas = torch.zeros(len(left), SIDE, SIDE)
    canvas[:, : SIDE - SHIFT, : SIDE - SHIFT] = images[left]
    corner = canvas[:, SHIFT:, SHIFT:]
    corner.copy_(torch.maximum(corner, images[right]))
    return {"canvas": canvas, "left": labels[left], "right": labels[right], "pixels": images[right].flatten(1)}
