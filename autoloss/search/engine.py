"""The loop of a search: it asks for a trial, runs it and tells the result; it can stop and continue at any trial."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoloss.core.errors import ConfigError, first_line, require
from autoloss.core.io.disk import disk_error
from autoloss.core.metrics.score import relative_improvement
from autoloss.search import budget, stop
from autoloss.search.balanced import balanced, finished_baseline
from autoloss.search.heartbeat import GRACE, HEARTBEAT, WorkerWatch, send_heartbeats
from autoloss.search.overdue import OverdueWatch
from autoloss.search.runner import SCORE, Pruned, Report, Result, Runner
from autoloss.search.search_json import MANY, write_search_json
from autoloss.search.space import BASELINE, STATIC, Candidate, Space
from autoloss.search.trial_line import trial_line


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to search, and for which objectives.

    A worker sends a heartbeat every ``heartbeat`` seconds, and counts as dead after ``grace`` seconds without one;
    it waits ``pause`` seconds before it looks again at what others do.
    """

    n_trials: int = 40
    timeout: float | None = None
    patience: int | None = None
    objectives: tuple[str, ...] = (SCORE,)
    seed: int = 0
    heartbeat: float = HEARTBEAT
    grace: float = GRACE
    pause: float = 0.5

    def __post_init__(self) -> None:
        require(self.n_trials >= 1, "search.n_trials must be at least 1", f"it is {self.n_trials}")
        require(self.timeout is None or self.timeout > 0, "search.timeout must be above 0", f"it is {self.timeout}")
        require(
            self.patience is None or self.patience >= 1, "search.patience must be at least 1", f"it is {self.patience}"
        )
        require(bool(self.objectives), "A search must have an objective", "search.objectives is empty")


class Search:
    """One worker of a study: :meth:`work` runs trials until the budget is spent."""

    def __init__(
        self,
        study: Study,
        space: Space,
        runner: Runner,
        goals: Mapping[str, str],
        settings: Settings,
        directory: Path,
        says: Callable[[str], None] = print,
    ) -> None:
        for name in settings.objectives:
            if name != SCORE and name not in goals:
                raise ConfigError(
                    f"An objective must be score or a metric, but there is no metric {name!r}: {sorted(goals)}."
                )
        self.study, self.space, self.runner, self.goals = study, space, runner, dict(goals)
        self.settings, self.directory, self.says = settings, directory, says
        self._started, self._watch = time.monotonic(), WorkerWatch(settings.grace)
        self.overdue = OverdueWatch(study, settings.timeout)
        self._told = set(budget.deaths(study))

    def work(self) -> None:
        """Run trials until the budget, the time or the patience is spent, and no other worker runs one."""
        budget.requeue_dead(self.study, self._watch)
        self._tell_deaths()
        while not self._over():
            stop.check()
            if not budget.spent(self.study, self.settings.n_trials):
                self._match_baseline()
            trial = budget.ask(self.study, self.settings.n_trials)
            if trial is not None:
                self._run(trial)
                self._tell_deaths()
            elif not self._wait_for_others():
                break
        while self._wait_for_others():
            pass
        self._tell_deaths()

    def plan(self, parameters: Sequence[Mapping[str, Any]] = (), turns: bool = False) -> None:
        """Queue the baseline, unless there is one that did not fail; in a new study also trials with ``parameters``.

        With ``turns`` each weighting is queued that was never tried, as far as the budget goes: in a few trials a
        sampler might never choose it.
        """
        trials = budget.kept(self.study)
        if not any(t.user_attrs.get("baseline") for t in trials if t.state != TrialState.FAIL):
            self.study.enqueue_trial({}, user_attrs={"baseline": True})
        if not trials:
            for number, one in enumerate(parameters):
                self.study.enqueue_trial(dict(one), user_attrs={"planned": number})
        if turns:
            tried = {(t.params or t.system_attrs.get("fixed_params", {})).get("weighting") for t in trials}
            left = self.settings.n_trials - max(1, len(trials))
            for name in [one for one in self.space.turns if one not in tried][: max(0, left)]:
                self.study.enqueue_trial({"weighting": name}, user_attrs={"planned": f"first {name}"})

    @property
    def reference(self) -> dict[str, float] | None:
        """The baseline's metrics, which scores are relative to; ``None`` until it is finished."""
        done = finished_baseline(self.study)
        return dict(done.user_attrs["metrics"]) if done is not None else None

    def score(self, metrics: Mapping[str, float]) -> float:
        """The mean relative improvement of ``metrics`` over the baseline, whose own score is 0."""
        reference = self.reference
        return relative_improvement(metrics, reference, self.goals) if reference else 0.0

    def _run(self, trial: Trial) -> None:
        try:
            with send_heartbeats(self.study, trial, self.settings.heartbeat), self.overdue.own(trial):
                if not self._await_reference(trial):
                    budget.give_back(self.study, trial)
                    return
                self.space, left_out = balanced(self.space, self.study)
                if left_out:
                    self.says(left_out)
                self._try(trial)
        except UpdateFinishedTrialError:
            self.says(f"trial {trial.number}: its heartbeat was missing for too long, so another worker runs it now")
            return
        except stop.Overdue:
            return
        except BaseException:
            # The search was stopped, or the baseline is missing: the trial itself did not fail.
            budget.give_back(self.study, trial)
            raise
        self.says(trial_line(self.study, trial.number, self.settings.n_trials, time.monotonic() - self._started))

    def _tell_deaths(self) -> None:
        """Say which trials of any worker ended with their process, each once."""
        for number, sentence in budget.deaths(self.study).items():
            if number not in self._told:
                self.says(f"trial {number}: {sentence}")
                self._told.add(number)

    def _try(self, trial: Trial) -> None:
        started = time.monotonic()
        baseline, curve = bool(trial.user_attrs.get("baseline")), dict[int, Mapping[str, float]]()
        directory = self.directory / "trials" / f"{trial.number:04d}"
        try:
            candidate = self.space.suggest(trial)
            trial.set_user_attr("candidate", candidate.plain())
            trial.set_user_attr("label", candidate.label)
            report = _reporter_into(curve) if baseline else self._reporter(trial)
            result = self.runner(candidate, self.settings.seed, directory, report)
            self._check(result.metrics)
        except Pruned:
            trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
            self.study.tell(trial, state=TrialState.PRUNED)
        except UpdateFinishedTrialError:
            raise
        except Exception as error:
            if disk_error(error, directory) is not None:
                raise  # every other trial would fail too: this one is given back
            sentence = first_line(error)
            trial.set_user_attr("error", sentence)
            self.study.tell(trial, state=TrialState.FAIL)
            if baseline:
                raise ConfigError(f"The equal-weights run must finish, but it failed: {sentence}") from error
        else:
            trial.set_user_attr("seconds", round(time.monotonic() - started, 3))
            if baseline:
                # Its scores are known only now that it is finished; pruners compare other trials with them.
                for step, metrics in curve.items():
                    self._report(trial, step, metrics, result.metrics)
            self._tell(trial, candidate, result)
        self._write(trial.number)

    def _write(self, number: int) -> None:
        if number < MANY or number % 10 == 0:
            write_search_json(self.directory, self.study, self.goals, self.settings.objectives)

    def _check(self, metrics: Mapping[str, float]) -> None:
        missing = ", ".join(name for name in self.goals if name not in metrics)
        require(not missing, "A run must report every metric", f"{missing} is missing: {dict(metrics)}")
        bad = ", ".join(f"{name} is {metrics[name]}" for name in self.goals if not math.isfinite(metrics[name]))
        require(not bad, "Every metric must be finite", bad)

    def _tell(self, trial: Trial, candidate: Candidate, result: Result) -> None:
        trial.set_user_attr("metrics", dict(result.metrics))
        trial.set_user_attr("final_weights", dict(result.final_weights))
        trial.set_user_attr("mean_weight_sum", result.mean_weight_sum)
        if result.unbalanced:
            trial.set_user_attr("unbalanced", list(result.unbalanced))
        score = self.score(result.metrics)
        trial.set_user_attr("score", score)
        self.study.tell(trial, [score if name == SCORE else result.metrics[name] for name in self.settings.objectives])
        self._offer(candidate, result)

    def _offer(self, candidate: Candidate, result: Result) -> None:
        """Queue a trial with the final weights of a dynamic method as fixed weights, once for each method."""
        name = str(candidate.weighting["name"])
        offered = {t.user_attrs.get("offered") for t in self.study.get_trials(deepcopy=False)}
        terms = set(self.space.terms)
        if (
            name in (BASELINE, STATIC, *offered)
            or STATIC not in self.space.weightings
            or terms - set(result.final_weights)
        ):
            return
        shared = {f"losses.{term}": loss for term, loss in candidate.losses.items()} | dict(candidate.keys)
        static = self.space.static_parameters(result.final_weights)
        self.study.enqueue_trial({"weighting": STATIC, **static, **shared}, user_attrs={"offered": name})

    def _match_baseline(self) -> None:
        """Where other keys vary, queue equal weights as often as any other weighting is tried."""
        if not (self.space.keys or self.space.losses):
            return
        parameters = [t.params or t.system_attrs.get("fixed_params", {}) for t in budget.kept(self.study)]
        names = [one.get("weighting", BASELINE) for one in parameters]
        others = [names.count(name) for name in self.space.weightings if name != BASELINE]
        # Queued before the others' next trial, which may be the last one of the budget.
        if others and names.count(BASELINE) <= max(others):
            self.study.enqueue_trial({"weighting": BASELINE})

    def _reporter(self, trial: Trial) -> Report:
        def report(step: int, metrics: Mapping[str, float]) -> None:
            reference = self.reference
            if reference is not None and self._report(trial, step, metrics, reference) and trial.should_prune():
                raise Pruned

        return report

    def _report(self, trial: Trial, step: int, metrics: Mapping[str, float], reference: Mapping[str, float]) -> bool:
        name = self.settings.objectives[0]
        if len(self.settings.objectives) > 1 or not set(self.goals) <= set(metrics):
            return False
        trial.report(relative_improvement(metrics, reference, self.goals) if name == SCORE else metrics[name], step)
        return True

    def _await_reference(self, trial: Trial) -> bool:
        """Wait until ``trial`` can be scored; ``False`` if the queued baseline must run first."""
        while self.reference is None and not trial.user_attrs.get("baseline"):
            baselines = [t for t in budget.kept(self.study) if t.user_attrs.get("baseline")]
            states = [t.state for t in baselines]
            if TrialState.WAITING in states:
                return False
            if TrialState.RUNNING not in states and self.reference is None:
                why = next((f": {t.user_attrs['error']}" for t in baselines if "error" in t.user_attrs), ".")
                raise ConfigError(f"The equal-weights run must finish before others are scored, but it failed{why}")
            stop.pause(self.settings.pause)
            budget.requeue_dead(self.study, self._watch)
        return True

    def _wait_for_others(self) -> bool:
        """Wait once, and return whether a trial of another worker may still have to be run here."""
        if budget.requeue_dead(self.study, self._watch) + self.overdue.end_others():
            return True
        if not self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            return False
        stop.pause(self.settings.pause)
        return True

    def _over(self) -> bool:
        if self.overdue.over:
            return True
        if self.settings.patience is None or len(self.settings.objectives) > 1:
            return False
        done = [t for t in budget.counted(self.study) if t.state == TrialState.COMPLETE]
        if not done:
            return False
        best = best_of(self.study, done)
        return len([t for t in budget.counted(self.study) if t.number > best.number]) >= self.settings.patience


def best_of(study: Study, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The best of the completed ``trials`` of a study with one objective; the earliest of equal ones."""
    sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
    return max(trials, key=lambda t: (sign * float(t.value or 0.0), -t.number))


def _reporter_into(curve: dict[int, Mapping[str, float]]) -> Report:
    def report(step: int, metrics: Mapping[str, float]) -> None:
        curve[step] = dict(metrics)

    return report
