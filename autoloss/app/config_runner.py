"""Trains a search's candidates by their configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from autoloss.app.composition import composed
from autoloss.app.config_values import Chosen
from autoloss.app.fleet_request import Request, Trained
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.overrides import rewritten
from autoloss.report.record import declared_unbalanced
from autoloss.search.output import overrides
from autoloss.search.runner import Report, Result, Task
from autoloss.search.space import Candidate


class ConfigRunner:
    """A runner that composes ``settings`` with a candidate's overrides and trains the result.

    With ``folds``, a trial trains once on each fold, reports after each one, and its result is the mean. A confirmation
    trains on all training data, and measures the test split if the problem ``has_test``. ``fleet`` trains several at
    once.
    """

    def __init__(
        self,
        settings: Sequence[str],
        config_dirs: Sequence[str],
        folds: int = 0,
        has_test: bool = True,
        fleet: FleetRuns | None = None,
    ) -> None:
        self.settings, self.config_dirs, self.folds = list(settings), list(config_dirs), folds
        self.has_test, self.fleet = has_test, fleet or FleetRuns(1)
        self._chosen: Chosen = {}

    def __call__(self, candidate: Candidate, seed: int, directory: Path, report: Report, test: bool = False) -> Result:
        results = []
        for fold, request in enumerate(self._requests(Task(candidate, seed, directory, report, test))):
            results.append(_result(self.fleet.alone(request), request.directory))
            if request.fold:
                report(fold, results[-1].metrics)
        return results[0] if len(results) == 1 else _mean(results)

    @property
    def most(self) -> int:
        """How many are trained at once at most."""
        return self.fleet.most

    def many(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Result | Exception | None]]:
        """The number and the result of each task, as soon as it is known; ``None``: it is to be run alone."""
        asked: dict[int, list[Request]] = {}
        for i, task in enumerate(tasks):
            try:
                asked[i] = self._requests(task)
            except Exception as error:
                yield i, error
        places = [(i, fold) for i, of in asked.items() for fold in range(len(of))]
        found: dict[int, dict[int, Trained | None]] = {i: {} for i in asked}
        for at, trained in self.fleet.together([one for of in asked.values() for one in of]):
            i, fold = places[at]
            found[i][fold] = trained
            if len(found[i]) == len(asked[i]):
                yield i, self._collected(tasks[i], [(one, found[i][k]) for k, one in enumerate(asked[i])])

    def _requests(self, task: Task) -> list[Request]:
        chosen = rewritten(overrides(task.candidate))
        whole = [*self.settings, *chosen, f"seed={task.seed}", f"test={task.test and self.has_test}"]
        config, title = composed("train", whole, self.config_dirs, self._chosen), task.directory.name
        if self.folds < 2 or task.test:
            command = ["autoloss", "train", *whole]
            return [Request(config, task.directory, chosen, title, command, task.report)]
        return [
            Request(config, task.directory / f"fold_{i}", chosen, f"{title} fold {i}", fold=(i, self.folds))
            for i in range(self.folds)
        ]

    def _collected(self, task: Task, trained: Sequence[tuple[Request, Trained | None]]) -> Result | Exception | None:
        """The result of a task: that of its run, or the mean over its folds, each of which is reported."""
        if all(one is None for _, one in trained):
            return None
        results = []
        try:
            for fold, (request, one) in enumerate(trained):
                if isinstance(one, Exception):
                    raise one
                results.append(_result(self.fleet.alone(request) if one is None else one, request.directory))
                if request.fold:
                    task.report(fold, results[-1].metrics)
        except Exception as error:
            return error
        return results[0] if len(results) == 1 else _mean(results)


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
