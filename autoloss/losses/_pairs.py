"""Pairs of a batch: which samples are of one class, and how far they are apart."""

from __future__ import annotations

import torch
from torch import Tensor

NOBODY = -1  # a label whose sample is in no pair


def relations(target: Tensor) -> tuple[Tensor, Tensor]:
    """Which pairs are of one class and which of two, [B, B] bool each; no sample is paired with itself."""
    known = target >= 0
    pairs = known.unsqueeze(0) & known.unsqueeze(1)
    pairs = pairs & ~torch.eye(len(target), dtype=torch.bool, device=target.device)
    same = target.unsqueeze(0) == target.unsqueeze(1)
    return pairs & same, pairs & ~same


def distances(vectors: Tensor) -> Tensor:
    """Euclidean distances [B, B], with a gradient of 0 where two vectors are equal."""
    squared = (vectors.unsqueeze(0) - vectors.unsqueeze(1)).square().sum(2)
    apart = squared != 0  # NaN too: it must not become a distance of 0
    # The slope of a square root at 0 is infinite, and a `where` after it makes it NaN.
    return torch.where(apart, torch.where(apart, squared, 1.0).sqrt(), 0.0)


def cosines(one: Tensor, other: Tensor) -> Tensor:
    """Cosines [B, B] of vectors [B, D]; 0 for a vector of zeros."""
    with torch.autocast(one.device.type, enabled=False):  # it would multiply in half precision
        return torch.nn.functional.normalize(one, dim=1) @ torch.nn.functional.normalize(other, dim=1).T
