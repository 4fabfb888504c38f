"""Scikit-learn's 8 x 8 digits, split once and for all."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

SPLITS = {"train": (0, 1000), "val": (1000, 1350), "test": (1350, 1797)}


@lru_cache(maxsize=1)
def digits() -> tuple[Tensor, Tensor]:
    """All images [1797, 8, 8] with pixels in [0, 1], and their labels; shared, never write to them."""
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.images, dtype=torch.float32) / 16, torch.tensor(found.target, dtype=torch.int64)


def order() -> Tensor:
    """The shuffled order of the digits: the file is sorted by writer, so that parts of it in order would differ."""
    return torch.randperm(SPLITS["test"][1], generator=torch.Generator().manual_seed(0))


def part(split: str) -> tuple[Tensor, Tensor]:
    """The images [N, 8, 8] and labels [N] of ``train`` (1000), ``val`` (350) or ``test`` (447)."""
    first, last = SPLITS[split]
    images, labels = digits()
    at = order()[first:last]
    return images[at], labels[at]
