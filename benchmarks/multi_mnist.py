"""Multi-MNIST as benchmark problems: `problem=multi_mnist:LeftRight` from this folder.

Overlay after Sener and Koltun (NeurIPS 2018, their code): one digit at rows and columns 0 to 28 of a 36 x 36 canvas,
another of the same split at 6 to 34, the larger value where they overlap, resized to 28 x 28 by nearest neighbour.
The clean split: the last 10,000 images of the training file are for validation.
"""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from autoloss import ConfigError, Outputs, Problem, Term
from autoloss.problems._tensors import Batch, TensorTable

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def read_idx(directory: Path, name: str) -> Tensor:
    """The array in an idx file, plain or compressed."""
    for path in (directory / name, directory / f"{name}.gz"):
        if path.is_file():
            data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
            shape = [int.from_bytes(data[4 + 4 * i : 8 + 4 * i], "big") for i in range(data[3])]
            return torch.from_numpy(np.frombuffer(data, np.uint8, offset=4 + 4 * len(shape)).reshape(shape).copy())
    missing = directory / name
    raise ConfigError(
        f"problem.data must hold MNIST's idx files, but {missing} is not there. Put the four files in it."
    )


class _Network(nn.Module):
    """The LeNet encoder and two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(
            *(nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(320, 50), nn.ReLU()),
        )
        self.left = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
        self.right = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 784))


class LeftRight(Problem):
    """Classifies the left digit and reconstructs the right one: two losses of different scales.

    Args:
        data: the directory of MNIST's four idx files.
        images: training images.
    """

    terms = {"left": "cross_entropy", "right": "mse"}
    metrics = {"left_error": "min", "right_mse": "min"}
    recipe = {"optimizer": {"lr": 0.005}, "batch_size": 256, "trainer": {"max_epochs": 16}, "threads": 1}
    use = "Losses of different scales, on which methods differ."
    citation = "Gama, Grassi, 2025, arXiv:2505.10347, table 3; overlay: Sener, Koltun, NeurIPS 2018"

    def __init__(self, data: str = "data/mnist", images: int = 10000) -> None:
        super().__init__()
        self.data, self.images = Path(data), images

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        generator = torch.Generator().manual_seed(0)
        images, labels = (read_idx(self.data, name) for name in FILES["train"])
        test = [read_idx(self.data, name) for name in FILES["test"]]
        parts = {
            "train": (images[: self.images], labels[: self.images]),
            "val": (images[50000:], labels[50000:]),
            "test": (test[0], test[1]),
        }
        return {split: _overlay(x, y, generator) for split, (x, y) in parts.items()}

    def network(self) -> nn.Module:
        return _Network()

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        of, anchor = self.branch(network.trunk(batch["canvas"]))
        left, right = (Term(getattr(network, name)(of[name]), batch[name]) for name in ("left", "right"))
        return Outputs({"left": left, "right": right}, anchor)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        left, right = outputs.term("left"), outputs.term("right")
        return {
            "left_error": (left.prediction.argmax(1) != left.target).float(),
            "right_mse": (right.prediction - right.target).square().mean(1),
        }


class BothDigits(LeftRight):
    """The control: classifies both digits. The losses are of the same kind, and methods should tie."""

    terms = {"left": "cross_entropy", "right": "cross_entropy"}
    metrics = {"left_error": "min", "right_error": "min"}
    citation = "Sener, Koltun, NeurIPS 2018; Kurin et al., NeurIPS 2022, arXiv:2201.04122"

    def network(self) -> nn.Module:
        network = _Network()
        network.right = nn.Sequential(nn.Linear(50, 50), nn.ReLU(), nn.Linear(50, 10))
        return network

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        of, anchor = self.branch(network.trunk(batch["canvas"]))
        pairs = (("left", "left"), ("right", "other"))
        return Outputs({name: Term(getattr(network, name)(of[name]), batch[key]) for name, key in pairs}, anchor)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        terms = {name: outputs.term(name) for name in self.terms}
        return {f"{name}_error": (t.prediction.argmax(1) != t.target).float() for name, t in terms.items()}


class TwoCopies(LeftRight):
    """The left digit is classified twice. No weights between the copies can help."""

    terms = {"one": "cross_entropy", "two": "cross_entropy"}
    metrics = {"one_error": "min", "two_error": "min"}

    def outputs(self, network: nn.Module, batch: Batch) -> Outputs:
        features = network.trunk(batch["canvas"])
        heads = {"one": network.left, "two": network.right}
        return Outputs({n: Term(h(features)[:, :10], batch["left"]) for n, h in heads.items()}, anchor=features)

    def measure(self, outputs: Outputs) -> Mapping[str, Tensor]:
        terms = {name: outputs.term(name) for name in self.terms}
        return {f"{name}_error": (t.prediction.argmax(1) != t.target).float() for name, t in terms.items()}


def _overlay(images: Tensor, labels: Tensor, generator: torch.Generator) -> TensorTable:
    other = torch.randint(len(images), (len(images),), generator=generator)
    pixels = images.float() / 255
    canvas = torch.zeros(len(images), 1, 36, 36)
    canvas[:, 0, :28, :28] = pixels
    corner = canvas[:, 0, 6:34, 6:34]
    corner.copy_(torch.maximum(corner, pixels[other]))
    small = functional.interpolate(canvas, size=(28, 28), mode="nearest")
    right = pixels[other].flatten(1)
    columns = {"left": labels.long(), "right": right, "other": labels[other].long()}
    return TensorTable(canvas=(small - 0.1307) / 0.3081, **columns)
