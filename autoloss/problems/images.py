"""MNIST, Fashion-MNIST and other data in idx files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from autoloss.core.errors import require, unknown
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.table import Anchor
from autoloss.problems import _noise
from autoloss.problems._idx import images_and_labels
from autoloss.problems._tensors import Batch, TensorTable

TASKS: dict[str, dict[str, str | None]] = {
    "classify": {"class": "cross_entropy"},
    "overlay": {"left": "cross_entropy", "right": "cross_entropy"},
    "reconstruct": {"left": "cross_entropy", "right": "mse"},
}
MARGIN, SHIFT = 8, 6  # the canvas of two images is 8 larger, and the second one lies 6 further right and down
Branch = Callable[[Tensor], tuple[Mapping[str, Tensor], Anchor]]


class _Network(nn.Module):
    """LeNet: conv 1-10 k5, pool, ReLU, conv 10-20 k5, pool, ReLU, fc 50, ReLU; a head fc 50, ReLU, fc for each term."""

    def __init__(self, side: int, outputs: Mapping[str, int]) -> None:
        super().__init__()
        flat = 20 * (((side - 4) // 2 - 4) // 2) ** 2
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(flat, 50), nn.ReLU()),
        )
        self.names = list(outputs)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, width)) for width in outputs.values()
        )

    def forward(self, images: Tensor, branch: Branch) -> tuple[Any, dict[str, Tensor]]:
        of, anchor = branch(self.trunk(images))
        return anchor, {name: head(of[name]) for name, head in zip(self.names, self.heads, strict=True)}


class Images(Problem):
    """Classifies square images from idx files; or two that are overlaid; or one of the two, and draws the other.

    - ``classify``: one loss, ``class``
    - ``overlay``: the classes ``left`` and ``right`` of two images of the same split, overlaid (largest value) at the
      upper left and, 6 to the right and below, at the lower right of a canvas that is resized to 28 x 28
    - ``reconstruct``: the class of the ``left``, and the pixels of the ``right`` one in [0, 1]: losses of two scales

    Validation is the last part of the training file, test the other file; both stay clean. ``noise`` and
    ``imbalance`` concern the training labels of ``class`` or ``left``. Batches say which samples they hold
    (``index``) and which are ``corrupted``.

    Args:
        directory: holds train-images-idx3-ubyte, train-labels-idx1-ubyte and the two t10k-... files, plain or .gz.
        task: one of the above.
        train: how many training images, from the beginning of the file; all but the last ``val`` if not given.
        val: how many validation images, from the end of the training file.
        noise: share of the training labels that are wrong, in [0, 1).
        kind: ``symmetric`` (any other class) or ``pair`` (the next class).
        imbalance: how many times more samples the most frequent class has than the rarest, at least 1.
    """

    use = "MNIST, Fashion-MNIST, KMNIST, EMNIST and similar: noisy, imbalanced, or with two losses."
    avoid = "Images with colours or larger than a few dozen pixels: write a problem of your own."
    citation = "LeCun et al., 1998 (MNIST); overlay: Sener, Koltun, NeurIPS 2018; reconstruct: arXiv:2505.10347"
    recipe = {"optimizer": {"lr": 0.001}, "batch_size": 128, "threads": 1, "trainer": {"max_epochs": 10}}

    def __init__(
        self,
        directory: str,
        task: str = "classify",
        train: int | None = None,
        val: int = 10000,
        noise: float = 0.0,
        kind: str = "symmetric",
        imbalance: float = 1.0,
    ) -> None:
        super().__init__()
        if task not in TASKS:
            raise unknown("task of images", task, TASKS)
        _noise.check(noise, kind, imbalance)
        require(val >= 1, "`val` must be at least 1", f"val={val}")
        require(train is None or train >= 1, "`train` must be at least 1", f"train={train}")
        self.task, self.sizes = task, (train, val)
        self.noise, self.kind, self.imbalance = noise, kind, imbalance
        self.terms = TASKS[task]
        self.metrics = {f"{name}_mse" if loss == "mse" else f"{name}_error": "min" for name, loss in self.terms.items()}
        self.images, self.labels = images_and_labels(Path(directory), "train")
        self.held = images_and_labels(Path(directory), "test")
        total = (train or 1) + val
        require(
            total <= len(self.labels), f"`train` and `val` must fit into {len(self.labels)} images", f"{total} do not"
        )
        shape = self.images.shape[1:]
        require(shape[0] == shape[1] >= 16, "Images must be square and at least 16 wide", f"they are {list(shape)}")
        self.side, self.classes = shape[0], int(max(self.labels.max(), self.held[1].max())) + 1

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        train, val = self.sizes
        cut = len(self.labels) - val
        first = slice(0, cut if train is None else train)
        generator = torch.Generator().manual_seed(seed)
        rows = _noise.imbalanced(self.labels[first], self.imbalance, self.classes, generator)
        images, truth = self.images[first][rows], self.labels[first][rows]
        labels = _noise.corrupted(truth, self.noise, self.kind, self.classes, generator)
        clean = {"val": (self.images[cut:], self.labels[cut:]), "test": self.held}
        tables = {"train": self._table(images, labels, truth, generator)}
        return tables | {split: self._table(x, y, y, generator) for split, (x, y) in clean.items()}

    def network(self) -> nn.Module:
        widths = {name: self.side**2 if loss == "mse" else self.classes for name, loss in self.terms.items()}
        return _Network(self.side, widths)

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        anchor, found = network(batch["image"].float().unsqueeze(1) / 255, self.branch)
        targets = {name: batch[name] for name in found}
        if self.task == "reconstruct":
            targets["right"] = targets["right"].float().flatten(1) / 255
        terms = {name: Term(prediction, targets[name]) for name, prediction in found.items()}
        return Outputs(terms, anchor, index=batch["index"], keys={"corrupted": batch["corrupted"]})

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        found = {}
        for name, loss in self.terms.items():
            term = outputs.term(name)
            if loss == "mse":
                found[f"{name}_mse"] = (term.prediction - term.target).square().mean(1)
            else:
                found[f"{name}_error"] = (term.prediction.argmax(1) != term.target).float()
        return found

    def _table(self, images: Tensor, labels: Tensor, truth: Tensor, generator: torch.Generator) -> TensorTable:
        known = {"corrupted": labels != truth, "index": torch.arange(len(labels))}
        if self.task == "classify":
            return TensorTable(image=images, **{"class": labels}, **known)
        other = torch.randint(len(images), (len(images),), generator=generator)
        right = images[other] if self.task == "reconstruct" else truth[other]
        return TensorTable(image=overlaid(images, images[other]), left=labels, right=right, **known)


def overlaid(left: Tensor, right: Tensor) -> Tensor:
    """Two images [N, S, S] on one canvas, resized to [N, S, S] by nearest neighbour; the larger value where they meet.

    The right one lies 6 below and to the right on a canvas that is 8 larger, as in the published protocol.
    """
    side = left.shape[1]
    canvas = left.new_zeros(len(left), side + MARGIN, side + MARGIN)
    canvas[:, :side, :side] = left
    corner = canvas[:, SHIFT : SHIFT + side, SHIFT : SHIFT + side]
    corner.copy_(torch.maximum(corner, right))
    return functional.interpolate(canvas.unsqueeze(1), size=(side, side), mode="nearest").squeeze(1)
