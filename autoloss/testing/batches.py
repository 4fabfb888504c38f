"""Made-up batches: what a sample weighting sees of one term over a training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from autoloss.core.need import SampleNeed
from autoloss.core.samples import Samples

SIZE, CLASSES = 40, 3


def batches(steps: int = 8, batch: int = 12, seed: int = 0, device: str = "cpu") -> list[Samples]:
    """``steps`` batches of distinct samples of :data:`SIZE`, losses between 0.01 and 10 that fall; no two are equal.

    Everything is known: index, labels (of :data:`CLASSES`), slopes, alignments, and the keys ``weight``,
    ``corrupted``, ``level`` (of noise), ``time`` (0 to 1) and ``group`` (of :data:`CLASSES`). An epoch is two steps;
    progress reaches 1.

    >>> first, second = batches(steps=2)
    >>> first.losses.shape, second.step, second.progress
    (torch.Size([12]), 1, 1.0)
    """
    source = torch.Generator().manual_seed(seed)
    labels = torch.randint(CLASSES, (SIZE,), generator=source).to(device)
    wrong = (torch.rand(SIZE, generator=source) < 0.3).to(device)
    found = []
    for t in range(steps):
        index = torch.randperm(SIZE, generator=source)[:batch].to(device)
        losses = 10 ** (3 * torch.rand(batch, generator=source) - 2 - t / 10).to(device)
        slopes = torch.randn(batch, generator=source).to(device)
        known = {"weight": torch.rand(batch, generator=source).to(device), "corrupted": wrong[index]}
        known |= {name: column.to(device) for name, column in _more_keys(batch, seed + t).items()}
        found.append(
            Samples(
                "a",
                losses,
                torch.ones_like(index, dtype=torch.bool),
                t,
                t // 2,
                t / max(steps - 1, 1),
                index,
                labels[index],
                slopes,
                known,
                # From a generator of its own, so that the other numbers stay what they were.
                torch.randn(batch, generator=torch.Generator().manual_seed(seed + t)).to(device),
            )
        )
    return found


def _more_keys(batch: int, seed: int) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(seed)
    return {
        "level": (1.2 * torch.randn(batch, generator=source) - 1.2).exp(),
        "time": torch.rand(batch, generator=source),
        "group": torch.randint(CLASSES, (batch,), generator=source),
    }


def taken(samples: Samples, rows: Tensor) -> Samples:
    """The ``rows`` of a batch, in that order; or those where ``rows`` (bool) holds."""

    def of(x: Tensor | None) -> Tensor | None:
        return None if x is None else x[rows]

    return replace(
        samples,
        losses=samples.losses[rows],
        present=samples.present[rows],
        known_index=of(samples.known_index),
        known_labels=of(samples.known_labels),
        measured_slopes=of(samples.measured_slopes),
        measured_alignment=of(samples.measured_alignment),
        keys={name: column[rows] for name, column in samples.keys.items()},
    )


def masked(samples: Samples, rows: Sequence[int], filler: float = 0.0) -> Samples:
    """The batch when ``rows`` are masked: absent, with the loss ``filler`` (0 in training)."""
    missing = torch.tensor([i in rows for i in range(len(samples.losses))], device=samples.losses.device)
    slopes, alignment = samples.measured_slopes, samples.measured_alignment
    return replace(
        samples,
        losses=samples.losses.masked_fill(missing, filler),
        present=~missing,
        measured_slopes=None if slopes is None else slopes.masked_fill(missing, filler),
        measured_alignment=None if alignment is None else alignment.masked_fill(missing, filler),
    )


def scaled(samples: Samples, by: float) -> Samples:
    """The batch when all losses are multiplied by ``by``; powers of 2 scale without rounding."""
    slopes, alignment = samples.measured_slopes, samples.measured_alignment
    return replace(
        samples,
        losses=samples.losses * by,
        measured_slopes=None if slopes is None else slopes * by,
        measured_alignment=None if alignment is None else alignment * by,
    )


def only(samples: Samples, needs: SampleNeed) -> Samples:
    """The batch when exactly ``needs`` is known: reading anything else raises ``SignalError``."""
    return replace(
        samples,
        known_index=samples.known_index if SampleNeed.INDEX in needs else None,
        known_labels=samples.known_labels if SampleNeed.LABELS in needs else None,
        measured_slopes=samples.measured_slopes if SampleNeed.SLOPES in needs else None,
        measured_alignment=samples.measured_alignment if SampleNeed.ALIGNMENT in needs else None,
    )
