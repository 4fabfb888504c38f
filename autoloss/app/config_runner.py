"""Trains a search's candidates by their configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from autoloss.app.composition import composed
from autoloss.app.overrides import rewritten
from autoloss.app.train_one import train
from autoloss.report.record import declared_unbalanced
from autoloss.search.output import overrides
from autoloss.search.runner import Report, Result
from autoloss.search.space import Candidate
from autoloss.training.lightning.callbacks.report_metrics import ReportMetrics


class ConfigRunner:
    """A runner that composes ``settings`` with a candidate's overrides and trains the result.

    With ``folds``, a trial trains once on each fold, reports after each one, and its result is the mean. A confirmation
    trains on all training data, and measures the test split if the problem ``has_test``.
    """

    def __init__(
        self, settings: Sequence[str], config_dirs: Sequence[str], folds: int = 0, has_test: bool = True
    ) -> None:
        self.settings, self.config_dirs, self.folds = list(settings), list(config_dirs), folds
        self.has_test = has_test

    def __call__(self, candidate: Candidate, seed: int, directory: Path, report: Report, test: bool = False) -> Result:
        chosen = rewritten(overrides(candidate))
        whole = [*self.settings, *chosen, f"seed={seed}", f"test={test and self.has_test}"]
        config = composed("train", whole, self.config_dirs)
        title = directory.name
        if self.folds < 2 or test:
            command = ["autoloss", "train", *whole]
            summary = train(config, directory, chosen, callbacks=[ReportMetrics(report)], title=title, command=command)
            return _result(summary, directory)
        results: list[Result] = []
        for fold in range(self.folds):
            inside = directory / f"fold_{fold}"
            summary = train(config, inside, chosen, fold=(fold, self.folds), title=f"{title} fold {fold}")
            results.append(_result(summary, inside))
            report(fold, results[-1].metrics)
        return _mean(results)


def _result(summary: Mapping[str, Any], directory: Path) -> Result:
    return Result(
        summary["metrics"],
        summary.get("test_metrics", {}),
        summary["final_weights"],
        summary["mean_weight_sum"],
        declared_unbalanced(directory),
    )


def _mean(results: Sequence[Result]) -> Result:
    def over(get: Any) -> dict[str, float]:
        return {name: fmean(get(r)[name] for r in results) for name in get(results[0])}

    return Result(
        over(lambda r: r.metrics),
        {},
        over(lambda r: r.final_weights),
        fmean(r.mean_weight_sum for r in results),
        results[0].unbalanced,
    )
