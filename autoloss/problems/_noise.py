"""Wrong labels and rare classes, made on purpose and in known shares."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require

KINDS = ("symmetric", "pair")


def check(noise: float, kind: str, imbalance: float) -> None:
    """Raise unless all three have possible values."""
    require(0 <= noise < 1, "`noise` must lie in [0, 1)", f"noise={noise}")
    require(kind in KINDS, f"`kind` must be one of {', '.join(KINDS)}", f"kind={kind!r}")
    require(imbalance >= 1, "`imbalance` must be at least 1", f"imbalance={imbalance}")


def corrupted(labels: Tensor, noise: float, kind: str, classes: int, generator: torch.Generator) -> Tensor:
    """``labels`` [N] with exactly the share ``noise`` of them wrong, drawn from all of them.

    ``symmetric``: any other class, all equally likely; ``pair``: the next class.

    >>> labels = torch.zeros(10, dtype=torch.int64)
    >>> int((corrupted(labels, 0.4, "symmetric", 3, torch.Generator()) != labels).sum())
    4
    """
    count = round(noise * len(labels))
    rows = torch.randperm(len(labels), generator=generator)[:count]
    shift = torch.randint(1, classes, (count,), generator=generator) if kind == "symmetric" else 1
    spoilt = labels.clone()
    spoilt[rows] = (labels[rows] + shift) % classes
    return spoilt


def relative_sizes(ratio: float, classes: int) -> list[float]:
    """The sizes of the classes over that of the first, which has ``ratio`` times as many samples as the last."""
    return [ratio ** (-c / (classes - 1)) for c in range(classes)]


def imbalanced(labels: Tensor, ratio: float, classes: int, generator: torch.Generator) -> Tensor:
    """The rows of ``labels`` [N] that stay when class c keeps ``ratio^(-c / (classes - 1))`` of the smallest class's
    size; at least one each, in their order; all rows for a ratio of 1.
    """
    if ratio == 1:
        return torch.arange(len(labels))
    sizes = torch.bincount(labels, minlength=classes)
    smallest = int(sizes[sizes > 0].min())
    kept = []
    for c, size in enumerate(relative_sizes(ratio, classes)):
        rows = (labels == c).nonzero().flatten()
        wanted = max(1, round(smallest * size))
        kept.append(rows[torch.randperm(len(rows), generator=generator)[:wanted]])
    return torch.cat(kept).sort().values
