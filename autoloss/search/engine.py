"""The search: a loop that asks, runs, tells, and can be stopped and continued anywhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoloss.core.errors import AutolossError, ConfigError, require
from autoloss.core.score import relative_improvement
from autoloss.search import budget
from autoloss.search.space import BASELINE, STATIC, Candidate, Space

SCORE = "score"


class Pruned(Exception):  # noqa: N818 - what happened, and no error
    """The pruner ended this trial."""


class Stopped(BaseException):
    """A signal asked this worker to end; what it was running is queued again."""


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
class Settings:
    """How long to search, and for what."""

    n_trials: int = 40
    timeout: float | None = None
    patience: int | None = None
    objectives: tuple[str, ...] = (SCORE,)
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.n_trials >= 1, "search.n_trials must be at least 1", f"it is {self.n_trials}")
        require(self.timeout is None or self.timeout > 0, "search.timeout must be above 0", f"it is {self.timeout}")
        require(self.patience is None or self.patience >= 1, "search.patience must be at least 1", f"it is {self.patience}")
        require(bool(self.objectives), "A search must have an objective", "search.objectives is empty")


class Search:
    """One worker's view of a study: :meth:`work` runs trials until the budget is spent."""

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
                raise ConfigError(f"An objective must be score or a metric, but there is no metric {name!r}: {sorted(goals)}.")
        self.study, self.space, self.runner, self.goals = study, space, runner, dict(goals)
        self.settings, self.directory, self.says = settings, directory, says
        self._begun = time.monotonic()

    def work(self) -> None:
        """Run trials until the budget, the time, or the patience is spent."""
        budget.requeue_dead(self.study)
        while not self._over():
            trial = budget.ask(self.study, self.settings.n_trials)
            if trial is None:
                if not self._wait_for_others():
                    return
                continue
            self._run(trial)

    def plan(self, parameters: Sequence[Mapping[str, Any]] = ()) -> None:
        """Queue the equal-weights run, and then ``parameters``; does nothing for a study that goes on."""
        if self.study.get_trials(deepcopy=False):
            return
        self.study.enqueue_trial({}, user_attrs={"baseline": True})
        for one in parameters:
            self.study.enqueue_trial(dict(one))

    @property
    def reference(self) -> dict[str, float] | None:
        """The metrics of the equal-weights run that scores are relative to, once it is finished."""
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            if trial.user_attrs.get("baseline"):
                return dict(trial.user_attrs["metrics"])
        return None

    def score(self, metrics: Mapping[str, float]) -> float:
        """The mean relative improvement of ``metrics`` over the equal-weights run."""
        reference = self.reference
        return relative_improvement(metrics, reference, self.goals) if reference else 0.0

    def _run(self, trial: Trial) -> None:
        baseline = bool(trial.user_attrs.get("baseline"))
        try:
            if not baseline:
                self._await_reference()
            candidate = self.space.suggest(trial)
            trial.set_user_attr("candidate", candidate.plain())
            trial.set_user_attr("label", candidate.label)
            begun = time.monotonic()
            directory = self.directory / "trials" / f"{trial.number:04d}"
            result = self.runner(candidate, self.settings.seed, directory, self._reporter(trial, baseline))
        except Pruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        except (KeyboardInterrupt, Stopped, SystemExit):
            budget.give_back(self.study, trial)
            raise
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else ""
            sentence = first if isinstance(error, AutolossError) else f"{type(error).__name__}: {first}"
            trial.set_user_attr("error", sentence)
            self.study.tell(trial, state=TrialState.FAIL)
            if baseline:
                raise ConfigError(f"The equal-weights run must finish, but it failed: {sentence}") from error
        else:
            trial.set_user_attr("seconds", round(time.monotonic() - begun, 3))
            self._tell(trial, candidate, result)
        self.says(self._line(trial.number))

    def _tell(self, trial: Trial, candidate: Candidate, result: Result) -> None:
        missing = [name for name in self.goals if name not in result.metrics]
        if missing:
            raise ConfigError(f"A run must report every metric, but {', '.join(missing)} is missing: {dict(result.metrics)}.")
        trial.set_user_attr("metrics", dict(result.metrics))
        trial.set_user_attr("final_weights", dict(result.final_weights))
        trial.set_user_attr("mean_weight_sum", result.mean_weight_sum)
        score = 0.0 if trial.user_attrs.get("baseline") else self.score(result.metrics)
        trial.set_user_attr("score", score)
        values = [score if name == SCORE else result.metrics[name] for name in self.settings.objectives]
        self.study.tell(trial, values)
        self._offer(candidate, result)
        self._match_baseline()

    def _offer(self, candidate: Candidate, result: Result) -> None:
        """Offer the final weights of a dynamic method, once for each, as a trial with fixed weights."""
        name = str(candidate.weighting["name"])
        offered = {t.user_attrs.get("offered") for t in self.study.get_trials(deepcopy=False)}
        terms = set(self.space.terms)
        if name in (BASELINE, STATIC, *offered) or STATIC not in self.space.weightings or terms - set(result.final_weights):
            return
        shared = {f"losses.{term}": loss for term, loss in candidate.losses.items()} | dict(candidate.keys)
        static = self.space.static_parameters(result.final_weights)
        self.study.enqueue_trial({"weighting": STATIC, **static, **shared}, user_attrs={"offered": name})

    def _match_baseline(self) -> None:
        """Where other keys vary, see that equal weights are tried on them as often as any other weighting."""
        if not (self.space.keys or self.space.losses):
            return
        trials = [t for t in self.study.get_trials(deepcopy=False) if budget.LEFT_OUT not in t.user_attrs]
        names = [(t.params or t.system_attrs.get("fixed_params", {})).get("weighting", BASELINE) for t in trials]
        others = [names.count(name) for name in self.space.weightings if name != BASELINE]
        if others and names.count(BASELINE) < max(others):
            self.study.enqueue_trial({"weighting": BASELINE})

    def _reporter(self, trial: Trial, baseline: bool) -> Report:
        single = len(self.settings.objectives) == 1

        def report(step: int, metrics: Mapping[str, float]) -> None:
            if not single or baseline or not set(self.goals) <= set(metrics):
                return
            name = self.settings.objectives[0]
            value = self.score(metrics) if name == SCORE else metrics[name]
            trial.report(value, step)
            if trial.should_prune():
                raise Pruned

        return report

    def _await_reference(self) -> None:
        while self.reference is None:
            running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING, TrialState.WAITING])
            if not any(t.user_attrs.get("baseline") for t in running):
                raise ConfigError("The equal-weights run must finish before others are scored, but it failed.")
            time.sleep(0.2)
            budget.requeue_dead(self.study)

    def _wait_for_others(self) -> bool:
        """Whether another worker's trial may yet come back to be run here."""
        if budget.requeue_dead(self.study):
            return True
        running = self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        if not running:
            return False
        time.sleep(0.5)
        return True

    def _over(self) -> bool:
        if self.settings.timeout is not None and time.monotonic() - self._begun > self.settings.timeout:
            return True
        if self.settings.patience is None or len(self.settings.objectives) > 1:
            return False
        done = [t for t in budget.counted(self.study) if t.state == TrialState.COMPLETE]
        if not done:
            return False
        best = best_of(self.study, done)
        return len([t for t in budget.counted(self.study) if t.number > best.number]) >= self.settings.patience

    def _line(self, number: int) -> str:
        trials = budget.counted(self.study)
        trial = self.study.get_trials(deepcopy=False)[number]
        state = {TrialState.COMPLETE: "done", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}[trial.state]
        what = trial.user_attrs.get("error") if state == "failed" else trial.user_attrs.get("label", "")
        score = trial.user_attrs.get("score")
        shown = f" score {score:+.4f}" if score is not None else ""
        left = self.settings.n_trials - len(trials)
        done = [t for t in trials if t.state == TrialState.COMPLETE]
        best = f"best {max(t.user_attrs['score'] for t in done):+.4f}" if done else "none finished"
        pace = (time.monotonic() - self._begun) / max(1, len([t for t in trials if _mine(t)]))
        counts = ", ".join(
            f"{sum(t.state == s for t in trials)} {word}"
            for s, word in ((TrialState.COMPLETE, "done"), (TrialState.PRUNED, "pruned"), (TrialState.FAIL, "failed"))
        )
        return f"trial {number} {state}:{shown} {what}  [{counts}; {best}; {left} to go, about {left * pace:.0f} s]"


def best_of(study: Study, trials: Sequence[FrozenTrial]) -> FrozenTrial:
    """The best of completed single-objective ``trials``; the earliest of equals."""
    sign = 1.0 if study.direction.name == "MAXIMIZE" else -1.0
    return max(trials, key=lambda t: (sign * float(t.value or 0.0), -t.number))


def _mine(trial: FrozenTrial) -> bool:
    worker = trial.user_attrs.get("worker")
    return bool(worker) and worker == budget.me()
