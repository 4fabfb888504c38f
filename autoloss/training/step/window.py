"""An accumulation window: merges the signals of several micro-batches into those of one batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from autoloss.core.measured.signal import AfterStep, AnySignal, MicroBatches
from autoloss.core.signals import SIGNALS, Signals
from autoloss.training.step.sample_weights import Sampled
from autoloss.training.step.weigh import Weighed


@dataclass(slots=True)
class Window:
    """Collects the micro-batches of one optimiser step.

    Each mean counts as much as the number of its items; each signal says how it is merged. Where gradients
    meet in a fork, a micro-batch is ``pending`` until its backward. A ``closed`` window takes no more micro-batches.
    ``outcome`` holds what was measured after the step, of the window as a whole.
    """

    steps: list[Weighed]
    pending: list[Weighed] = field(default_factory=list)
    closed: bool = False
    outcome: dict[AfterStep, Tensor] = field(default_factory=dict)

    def add(self, weighed: Weighed, pending: bool = False) -> None:
        """Take in one micro-batch."""
        self.steps.append(weighed)
        if pending:
            self.pending.append(weighed)

    def settle(self, before: Weighed, after: Weighed) -> None:
        """Replace a pending micro-batch by the same with its signals, after its backward."""
        self.steps = [after if step is before else step for step in self.steps]
        self.pending = [step for step in self.pending if step is not before]

    def observe(self, signal: AfterStep, found: Tensor | Sequence[Tensor] | None) -> None:
        """Add a ``signal`` of the step's outcome: one [K] of the whole window, or one of each micro-batch."""
        if isinstance(found, Tensor):
            self.outcome[signal] = found
        elif found is not None:
            self.steps = [
                replace(step, signals=_with(step.signals, {signal.field: value}))
                for step, value in zip(self.steps, found, strict=True)
            ]

    def losses(self) -> tuple[Tensor, Tensor] | None:
        """The losses [N] of the window as one batch, and which it had [N]; ``None`` if it was empty."""
        steps = [step.losses for step in self.steps if not any(step is waiting for waiting in self.pending)]
        if len(steps) < 2:
            return (steps[0].values, steps[0].present) if steps else None
        present = torch.stack([one.present for one in steps])
        counts = torch.stack([one.counts for one in steps]) * present
        values = torch.stack([one.values for one in steps]).where(present, 0.0)
        return (counts * values).sum(0) / counts.sum(0).clamp(min=1), present.any(0)

    def sampled(self) -> list[tuple[Sampled, ...]]:
        """What the sample weighting gave in each micro-batch that had its backward."""
        return [step.sampled for step in self.steps if not any(step is waiting for waiting in self.pending)]

    def take(self) -> Signals | None:
        """The signals of the window as one batch, ``None`` if it was empty; then start a new window.

        A micro-batch that is still pending is left out: it had no backward.
        """
        steps = [step for step in self.steps if not any(step is waiting for waiting in self.pending)]
        self.steps, self.pending = [], []
        outcome, self.outcome = self.outcome, {}
        if not steps:
            return None
        union = _as_one(steps)
        for signal, value in outcome.items():
            value = value if union.whole else torch.where(union.present, value, signal.absent)
            union = _with(union, {signal.field: value})
        return union


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
    union = replace(
        steps[-1].signals,
        values=torch.where(anyone, values, 1.0),
        present=anyone,
        whole=all(s.signals.whole for s in steps),
    )
    measured = [s.measured for s in steps if s.measured is not None]
    rows = [one.rows for one in measured if one.rows is not None]
    window = MicroBatches(shares, [one.items for one in measured], rows)
    return _with(union, {signal.field: _merged(signal, steps, window) for signal in SIGNALS})


def _merged(signal: AnySignal, steps: list[Weighed], window: MicroBatches) -> Any:
    values = [v for s in steps if (v := getattr(s.signals, signal.field)) is not None]
    return signal.merged(values, window) if len(values) == len(steps) else None


def _with(signals: Signals, measured: Mapping[str, Any]) -> Signals:
    return replace(signals, **measured)
