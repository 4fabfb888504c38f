"""Scores: the relative improvement over the baseline, which pruners see while a trial runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial

from autoloss.core.errors import require
from autoloss.core.metrics.score import relative_improvement
from autoloss.search.balanced import finished_baseline
from autoloss.search.runner import SCORE, Pruned, Report


class Scores:
    """Scores the metrics of a study's trials; ``goals`` are the problem's metrics, ``objectives`` the search's."""

    def __init__(self, study: Study, goals: Mapping[str, str], objectives: tuple[str, ...]) -> None:
        self.study, self.goals, self.objectives = study, dict(goals), objectives

    @property
    def reference(self) -> dict[str, float] | None:
        """The baseline's metrics, which scores are relative to; ``None`` until it is finished."""
        done = finished_baseline(self.study)
        return dict(done.user_attrs["metrics"]) if done is not None else None

    def score(self, metrics: Mapping[str, float]) -> float:
        """The mean relative improvement of ``metrics`` over the baseline, whose own score is 0."""
        reference = self.reference
        return relative_improvement(metrics, reference, self.goals) if reference else 0.0

    def check(self, metrics: Mapping[str, float]) -> None:
        """Raise :class:`ConfigError` unless every metric of the problem is there and finite."""
        missing = ", ".join(name for name in self.goals if name not in metrics)
        require(not missing, "A run must report every metric", f"{missing} is missing: {dict(metrics)}")
        bad = ", ".join(f"{name} is {metrics[name]}" for name in self.goals if not math.isfinite(metrics[name]))
        require(not bad, "Every metric must be finite", bad)

    def reporter(self, trial: Trial) -> Report:
        """Reports the metrics of a running trial, and ends it where the pruner says so."""

        def report(step: int, metrics: Mapping[str, float]) -> None:
            reference = self.reference
            if reference is not None and self.report(trial, step, metrics, reference) and trial.should_prune():
                raise Pruned

        return report

    def report(self, trial: Trial, step: int, metrics: Mapping[str, float], reference: Mapping[str, float]) -> bool:
        """Tell the pruner the metrics at ``step``; ``False`` where it cannot use them."""
        name = self.objectives[0]
        if len(self.objectives) > 1 or not set(self.goals) <= set(metrics):
            return False
        trial.report(relative_improvement(metrics, reference, self.goals) if name == SCORE else metrics[name], step)
        return True


def reporter_into(curve: dict[int, Mapping[str, float]]) -> Report:
    """Keeps the metrics of each step in ``curve``."""

    def report(step: int, metrics: Mapping[str, float]) -> None:
        curve[step] = dict(metrics)

    return report


def best_of(study: Study, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The best of the completed ``trials`` of a study with one objective; the earliest of equal ones."""
    sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
    return max(trials, key=lambda t: (sign * float(t.value or 0.0), -t.number))
