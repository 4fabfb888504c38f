"""Facts about the targets of a problem: their kind, their tails, their rare classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST = 200_000  # numbers that the kurtosis is computed from; of more, as many are picked evenly


@dataclass(frozen=True, slots=True)
class TargetFacts:
    """``kind`` is classes, binary or numbers; ``count`` is the number of targets.

    For classes, ``rarest`` and ``commonest`` are the shares of the rarest and of the commonest class. For numbers,
    ``kurtosis`` is the fourth standardised moment (3 for a normal distribution; a few far values make it large),
    ``spread`` is the largest magnitude over the median one, and ``positive`` says whether all are above 0.
    """

    kind: str
    count: int
    classes: int = 0
    rarest: float = 0.0
    commonest: float = 0.0
    kurtosis: float = 0.0
    spread: float = 1.0
    positive: bool = False


def look_at(targets: Tensor) -> TargetFacts:
    """The facts about ``targets`` (any shape; NaN is left out).

    >>> look_at(torch.tensor([0, 0, 0, 1])).rarest
    0.25
    """
    flat = targets.detach().reshape(-1).cpu()
    if not flat.is_floating_point():
        return _classes(flat.long(), "classes")
    flat = flat[flat.isfinite()].double()
    if flat.numel() and bool(((flat == 0) | (flat == 1)).all()):
        return _classes(flat.long(), "binary")
    if flat.numel() > MOST:
        flat = flat[torch.linspace(0, flat.numel() - 1, MOST).long()]
    if not flat.numel():
        return TargetFacts("numbers", 0)
    off = flat - flat.mean()
    variance = float(off.square().mean())
    kurtosis = float(off.pow(4).mean()) / variance**2 if variance > 0 else 0.0
    middle = float(flat.abs().median())
    spread = float(flat.abs().max()) / middle if middle > 0 else 1.0
    return TargetFacts("numbers", flat.numel(), kurtosis=kurtosis, spread=spread, positive=bool((flat > 0).all()))


def _classes(flat: Tensor, kind: str) -> TargetFacts:
    flat = flat[flat >= 0]
    if not flat.numel():
        return TargetFacts(kind, 0)
    shares = torch.bincount(flat).double() / flat.numel()
    present = shares[shares > 0]
    return TargetFacts(kind, flat.numel(), len(present), float(present.min()), float(present.max()))
