"""How long the members of a fleet train, and on what batches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

from autoloss.training.fleet.clip import Clip


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a training is after a whole epoch: epochs, optimiser steps, and batches of the epoch."""

    epochs: int
    steps: int
    batches: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What the members of a fleet share: how long they train, on what batches, and how they are recorded.

    Training ends after ``epochs``, or within one after ``most`` optimiser steps. ``limits`` says by split how many
    batches of an epoch are taken, or which share of them; all if it says nothing.
    """

    epochs: int
    batch_size: int
    accumulate: int = 1
    clip: Clip | None = None
    validate_every: int = 1
    record_every: int = 10
    checkpoint_every: int = 0
    probe_every: int = 0
    limits: Mapping[str, int | float] = field(default_factory=dict)
    most: int | None = None

    def batches(self, samples: int, split: str = "train") -> int:
        """The batches of an epoch on so many samples."""
        whole, limit = ceil(samples / self.batch_size), self.limits.get(split, 1.0)
        return int(whole * limit) if isinstance(limit, float) else min(whole, limit)

    def steps(self, samples: int) -> int:
        """The optimiser steps of a training on so many samples."""
        whole = self.each(samples) * self.epochs
        return whole if self.most is None else min(whole, self.most)

    def each(self, samples: int) -> int:
        """The optimiser steps of an epoch on so many samples."""
        return ceil(self.batches(samples) / self.accumulate)

    def begun(self, samples: int) -> int:
        """The epochs that are begun in a training on so many samples."""
        return ceil(self.steps(samples) / self.each(samples))
