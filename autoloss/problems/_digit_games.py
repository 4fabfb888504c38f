"""What games with digits have in common: data, a discriminator, and the metrics of many samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from autoloss.core.gan.gan_problem import GanProblem
from autoloss.core.problem import Inputs, Layers, Term, Verdict
from autoloss.core.table import Entry
from autoloss.problems._digit_classifier import digit_classifier
from autoloss.problems._digits import part
from autoloss.problems._frechet import frechet_distance
from autoloss.problems._tensors import Batch, TensorTable, folds

CLASSES, SIDE, SAMPLES = 10, 8, 1000
Made = TypeVar("Made")


class Said(NamedTuple):
    """What a discriminator says of images: a logit [B], class logits [B, 10], the activations of its layers."""

    logit: Tensor
    classes: Tensor
    layers: tuple[Tensor, ...]


class Discriminator(nn.Module):
    """64-256-256 with a logit that depends on the class (Miyato and Koyama, 2018) and a head for classes."""

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Flatten(), nn.Linear(SIDE * SIDE, width), nn.LeakyReLU(0.2))
        self.second = nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(0.2))
        self.logit, self.classes = nn.Linear(width, 1), nn.Linear(width, CLASSES)
        self.of_class = nn.Embedding(CLASSES, width)

    def forward(self, images: Tensor, labels: Tensor) -> Said:
        first = self.first(2 * images - 1)
        second = self.second(first)
        logit = self.logit(second)[:, 0] + (self.of_class(labels) * second).mean(1)
        return Said(logit, self.classes(second), (first, second))


class Decoder(nn.Module):
    """Noise [B, Z] and a class to an image [B, 8, 8] in [0, 1], through two layers of ``width``."""

    def __init__(self, noise: int, width: int = 256) -> None:
        super().__init__()
        self.noise = noise
        self.layers = nn.Sequential(
            nn.Linear(noise + CLASSES, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, width),
            nn.LeakyReLU(0.2),
        )
        self.last = nn.Linear(width, SIDE * SIDE)

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        code = torch.cat([noise, one_hot(labels, CLASSES)], 1).to(self.last.weight.dtype)
        return self.last(self.layers(code)).sigmoid().view(-1, SIDE, SIDE)


class DigitGame(GanProblem):
    """Digits of a given class from noise; subclasses say what generator there is, and what its losses are."""

    def sampled(self, network: nn.Module, labels: Tensor) -> Tensor:
        """New digits [N, 8, 8] of ``labels`` from random numbers alone."""
        raise NotImplementedError

    def datasets(self, seed: int) -> Mapping[str, TensorTable]:
        return {split: _table(*part(split)) for split in ("train", "val", "test")}

    def folds(self, count: int, seed: int) -> list[Mapping[str, TensorTable]]:
        images, labels = (torch.cat(both) for both in zip(part("train"), part("val"), strict=True))
        test = _table(*part("test"))
        return [
            {"train": _table(images[train], labels[train]), "val": _table(images[val], labels[val]), "test": test}
            for train, val in folds(torch.arange(len(images)), count, seed)
        ]

    def discriminator(self) -> nn.Module:
        return Discriminator()

    def evaluate(self, network: nn.Module, real: TensorTable) -> Mapping[str, float]:
        """Compare a thousand samples with the digits ``real``; they have the same classes.

        ``frechet``: in the features of a classifier of real digits. ``class_error``: how often it sees another class
        than was asked for. ``deviation``: the pixels' deviation within a class, relative to that of ``real``.
        """
        device = next(network.parameters()).device
        images, labels = real.columns["image"], real.columns["label"]
        wanted = labels.repeat(-(-SAMPLES // len(labels)))[:SAMPLES]
        with torch.no_grad():
            made = self.sampled(network, wanted.to(device)).float().cpu()
            features, logits = digit_classifier()(made)
            of_real, _ = digit_classifier()(images)
        return {
            "frechet": frechet_distance(features, of_real),
            "class_error": float((logits.argmax(1) != wanted).float().mean()),
            "deviation": float(spread(made, wanted) / spread(images, labels)),
        }

    def gallery(self, network: nn.Module) -> Tensor:
        """Eight samples of each class, a column for each: [8, 10, 8, 8]."""
        device = next(network.parameters()).device
        labels = torch.arange(CLASSES, device=device).repeat(8)
        return self.sampled(network, labels).view(8, CLASSES, SIDE, SIDE)


def spread(images: Tensor, labels: Tensor) -> Tensor:
    """The mean over classes and pixels of the standard deviation within the class."""
    return torch.stack([images[labels == label].std(0).mean() for label in range(CLASSES)]).mean()


def contested(
    discriminator: nn.Module, batch: Batch, samples: Tensor
) -> tuple[Said, dict[str, Term | Entry | Tensor | Verdict | Inputs | Layers]]:
    """What the discriminator says of the real digits, followed by ``samples``; and its terms adv and penalty."""
    real, labels = batch["image"], batch["label"]
    said: Said = discriminator(torch.cat([real, samples]), labels.repeat(2))
    on_real, on_fake = said.logit.chunk(2)
    penalty = Inputs(lambda images: discriminator(images, labels).logit, real, samples)
    return said, {"adv": Verdict(on_real, on_fake), "penalty": penalty}


def once(function: Callable[[Tensor], Made]) -> Callable[[Tensor], Made]:
    """``function``, called once for each tensor: losses that have no copies of their own share its result."""
    known: dict[int, tuple[Tensor, Made]] = {}

    def call(tensor: Tensor) -> Made:
        if id(tensor) not in known:
            known[id(tensor)] = tensor, function(tensor)
        return known[id(tensor)][1]

    return call


def _table(images: Tensor, labels: Tensor) -> TensorTable:
    return TensorTable(image=images, label=labels)
