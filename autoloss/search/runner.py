"""What a search asks for and what it gets: the function that trains a candidate, and its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from autoloss.search.space import Candidate
from autoloss.search.verdict import Comparison

SCORE = "score"


class Pruned(Exception):  # noqa: N818 - what happened, and no error
    """The pruner ended this trial."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one training gave: validation metrics, test metrics if asked for, and what the weights were."""

    metrics: Mapping[str, float]
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    final_weights: Mapping[str, float] = field(default_factory=dict)
    mean_weight_sum: float = float("nan")


class Report(Protocol):
    """Called during a training with its step and metrics; raises :class:`Pruned` to end it."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None: ...


class Runner(Protocol):
    """Trains one candidate with one seed in a directory; ``test`` says to measure the test split too."""

    def __call__(
        self, candidate: Candidate, seed: int, directory: Path, report: Report, test: bool = False
    ) -> Result: ...


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A candidate retrained on fresh seeds: scores against the mean of equal weights, seed by seed.

    One that failed on a seed has no scores; ``error`` says on which, and why.
    """

    candidate: Candidate
    trial: int
    validation: tuple[float, ...]
    test: tuple[float, ...]
    comparison: Comparison | None = None
    error: str | None = None
