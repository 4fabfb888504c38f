"""The function that trains a candidate for a search, and its results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

from autoloss.report.verdict import Comparison
from autoloss.search.space import Candidate

SCORE = "score"
TEST, VALIDATION = "test", "validation"
NO_TEST = "on validation data, on which the candidates were chosen: the problem has no test split"


class Pruned(Exception):  # noqa: N818 - an event, not an error
    """The pruner ended this trial."""


@dataclass(frozen=True, slots=True)
class Result:
    """The results of one training: validation metrics, test metrics if asked for, and the weights.

    ``unbalanced`` are the losses that the training declared unbalanced: they keep their base weight.
    """

    metrics: Mapping[str, float]
    test_metrics: Mapping[str, float] = field(default_factory=dict)
    final_weights: Mapping[str, float] = field(default_factory=dict)
    mean_weight_sum: float = float("nan")
    unbalanced: tuple[str, ...] = ()


class Report(Protocol):
    """Is called during a training with the step and the metrics; raises :class:`Pruned` to end it."""

    def __call__(self, step: int, metrics: Mapping[str, float]) -> None: ...


class Runner(Protocol):
    """Trains one candidate with one seed in a directory; with ``test`` it measures the test split too."""

    def __call__(
        self, candidate: Candidate, seed: int, directory: Path, report: Report, test: bool = False
    ) -> Result: ...


@dataclass(frozen=True, slots=True)
class Task:
    """One training that a runner is asked for."""

    candidate: Candidate
    seed: int
    directory: Path
    report: Report
    test: bool = False


@runtime_checkable
class FleetRunner(Runner, Protocol):
    """A runner that can train several candidates at once, at most ``most`` of them: 1 once it found that it cannot."""

    @property
    def most(self) -> int: ...

    def many(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Exception | None]]:
        """The number of each task and its result, or the error that ended it, as soon as it is known.

        ``None`` is for a task that is to be run alone.
        """
        ...


@dataclass(frozen=True, slots=True)
class Confirmed:
    """A candidate that was trained again on fresh seeds: its score on each seed, over the baseline's mean metrics.

    ``test`` are the scores that the verdict compares, on the data ``split``: without a test split those of validation.
    A candidate that failed on a seed has no scores; ``error`` says on which seed, and why. ``metrics`` are the metrics
    on that data by name, a value for each seed, and ``validation_metrics`` those on validation data. ``final_weights``
    are means over the seeds; a search of an earlier version has none. ``seeds`` are the fresh seeds.
    """

    candidate: Candidate
    trial: int
    validation: tuple[float, ...]
    test: tuple[float, ...]
    comparison: Comparison | None = None
    error: str | None = None
    split: str = TEST
    metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    validation_metrics: Mapping[str, Sequence[float]] = field(default_factory=dict)
    final_weights: Mapping[str, float] = field(default_factory=dict)
    seeds: Sequence[int] = ()
