"""An accumulation window: what several micro-batches measured, as if they had been one batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from autoloss.core.signals import Signals, Stats
from autoloss.core.tensors.precision import gram_of
from autoloss.training.step.sample_weights import Sampled
from autoloss.training.step.weigh import Weighed


@dataclass(slots=True)
class Window:
    """Collects the micro-batches of one optimiser step.

    Means are weighted by the items behind them. Gradients at features belong to different
    samples, so their inner products add up with the squared shares; gradients at parameters are
    averaged before they are compared. Where gradients meet in a fork, a micro-batch is ``pending``
    until its backward; a ``closed`` window takes no more of them.
    """

    steps: list[Weighed]
    pending: list[Weighed] = field(default_factory=list)
    closed: bool = False
    alignment: Tensor | None = None

    def add(self, weighed: Weighed, pending: bool = False) -> None:
        """Take in one micro-batch."""
        self.steps.append(weighed)
        if pending:
            self.pending.append(weighed)

    def settle(self, before: Weighed, after: Weighed) -> None:
        """Replace a pending micro-batch by what its backward made of it."""
        self.steps = [after if step is before else step for step in self.steps]
        self.pending = [step for step in self.pending if step is not before]

    def look_again(self, values: Sequence[Tensor]) -> None:
        """Add the losses [K] of each micro-batch after the optimiser's step."""
        self.steps = [
            replace(step, signals=replace(step.signals, measured_after=after))
            for step, after in zip(self.steps, values, strict=True)
        ]

    def sampled(self) -> list[tuple[Sampled, ...]]:
        """What the sample weighting gave in each micro-batch that has had its backward."""
        return [step.sampled for step in self.steps if not any(step is waiting for waiting in self.pending)]

    def take(self) -> Signals | None:
        """The signals of the window as one batch, and start a new one; ``None`` if it was empty.

        What is still pending is left out: it had no backward.
        """
        steps = [step for step in self.steps if not any(step is waiting for waiting in self.pending)]
        self.steps, self.pending = [], []
        alignment, self.alignment = self.alignment, None
        if not steps:
            return None
        union = _as_one(steps)
        if alignment is None:
            return union
        return replace(
            union, measured_alignment=alignment if union.whole else torch.where(union.present, alignment, 0.0)
        )


def _as_one(steps: list[Weighed]) -> Signals:
    if len(steps) == 1:
        return steps[0].signals
    with torch.no_grad(), torch.autocast(steps[0].counts.device.type, enabled=False):
        return _union(steps)


def _union(steps: list[Weighed]) -> Signals:
    present = torch.stack([s.signals.present for s in steps])
    counts = torch.stack([s.counts for s in steps]) * present
    shares = counts / counts.sum(0).clamp(min=1)
    values = (shares * torch.stack([s.signals.values for s in steps])).sum(0)
    anyone = present.any(0)
    return replace(
        steps[-1].signals,
        values=torch.where(anyone, values, 1.0),
        present=anyone,
        measured_gram=_gram(steps, shares),
        measured_stats=_stats(steps, shares),
        measured_after=_after(steps, shares),
        whole=all(s.signals.whole for s in steps),
    )


def _after(steps: list[Weighed], shares: Tensor) -> Tensor | None:
    after = [s.signals.measured_after for s in steps if s.signals.measured_after is not None]
    return (shares * torch.stack(after)).sum(0) if len(after) == len(steps) else None


def _rows(steps: list[Weighed], shares: Tensor) -> Tensor | None:
    rows = [s.measured.rows for s in steps if s.measured is not None and s.measured.rows is not None]
    if len(rows) < len(steps):
        return None
    return sum(
        (share[:, None] * row for share, row in zip(shares[1:], rows[1:], strict=True)), shares[0][:, None] * rows[0]
    )


def _gram(steps: list[Weighed], shares: Tensor) -> Tensor | None:
    grams = [s.signals.measured_gram for s in steps if s.signals.measured_gram is not None]
    if len(grams) < len(steps):
        return None
    rows = _rows(steps, shares)
    if rows is not None:
        return gram_of(rows)
    squared = shares[:, :, None] * shares[:, None, :]
    return (squared * torch.stack(grams)).sum(0)


def _stats(steps: list[Weighed], shares: Tensor) -> Stats | None:
    stats = [s.signals.measured_stats for s in steps if s.signals.measured_stats is not None]
    if len(stats) < len(steps):
        return None
    rows = _rows(steps, shares)
    if rows is not None:
        magnitude = rows.abs()
        return Stats(rows.norm(dim=1), magnitude.amax(1), magnitude.mean(1))
    items = torch.stack([shares.new_full((), s.measured.items) for s in steps if s.measured is not None])
    part = shares * (items / items.sum())[:, None]
    return Stats(
        (part * torch.stack([s.item_norm for s in stats])).sum(0),
        (shares * torch.stack([s.largest for s in stats])).amax(0),
        (part * torch.stack([s.mean for s in stats])).sum(0),
    )
