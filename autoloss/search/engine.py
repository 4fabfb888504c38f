"""The loop of a search: it asks for a trial, runs it and tells the result; it can stop and continue at any trial."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoloss.core.errors import ConfigError, first_line, require
from autoloss.core.io.disk import disk_error
from autoloss.search import budget, stop
from autoloss.search.balanced import balanced
from autoloss.search.batch import BegunTrial, ask_batch
from autoloss.search.heartbeat import GRACE, HEARTBEAT, WorkerWatch, send_heartbeats
from autoloss.search.overdue import OverdueWatch
from autoloss.search.queued import offer, plan
from autoloss.search.run_places import PLACE, trial_place
from autoloss.search.runner import SCORE, FleetRunner, Pruned, Result, Runner, Task
from autoloss.search.scores import Scores, best_of, reporter_into
from autoloss.search.search_json import MANY, write_search_json
from autoloss.search.space import Candidate, Space
from autoloss.search.trial_line import fleet_line, trial_line


@dataclass(frozen=True, slots=True)
class Settings:
    """How long to search, and for which objectives.

    A worker sends a heartbeat every ``heartbeat`` seconds, and counts as dead after ``grace`` seconds without one;
    it waits ``pause`` seconds before it looks again at what others do. Up to ``fleet`` trials are trained at once.
    """

    n_trials: int = 40
    timeout: float | None = None
    patience: int | None = None
    objectives: tuple[str, ...] = (SCORE,)
    seed: int = 0
    heartbeat: float = HEARTBEAT
    grace: float = GRACE
    pause: float = 0.5
    fleet: int = 1

    def __post_init__(self) -> None:
        require(self.n_trials >= 1, "search.n_trials must be at least 1", f"it is {self.n_trials}")
        require(self.timeout is None or self.timeout > 0, "search.timeout must be above 0", f"it is {self.timeout}")
        require(
            self.patience is None or self.patience >= 1, "search.patience must be at least 1", f"it is {self.patience}"
        )
        require(
            self.fleet >= 1, "search.fleet must be at least 1, which trains one trial at a time", f"it is {self.fleet}"
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
        self.scores = Scores(study, goals, settings.objectives)
        self._started, self._watch = time.monotonic(), WorkerWatch(settings.grace)
        self.overdue = OverdueWatch(study, settings.timeout)
        self._told = set(budget.deaths(study))

    def work(self) -> None:
        """Run trials until the budget, the time or the patience is spent, and no other worker runs one."""
        budget.requeue_dead(self.study, self._watch)
        self._tell_deaths()
        while not self._over():
            stop.check()
            trials = self._asked()
            if trials:
                self._run(trials)
                self._tell_deaths()
            elif not self._wait_for_others():
                break
        while self._wait_for_others():
            pass
        self._tell_deaths()

    def plan(self, parameters: Sequence[Mapping[str, Any]] = (), turns: bool = False) -> None:
        """Queue the trials that come first: :func:`autoloss.search.queued.plan`."""
        plan(self.study, self.space, self.settings.n_trials, parameters, turns)

    @property
    def reference(self) -> dict[str, float] | None:
        """The baseline's metrics, which scores are relative to; ``None`` until it is finished."""
        return self.scores.reference

    def _asked(self) -> list[Trial]:
        """The next trials: one, or as many as a fleet has once the baseline is finished."""
        size = 1
        if isinstance(self.runner, FleetRunner) and self.reference is not None:
            size = min(self.settings.fleet, self.runner.most)
            self._narrow()
        return ask_batch(self.study, self.space, self.settings.n_trials, size)

    def _narrow(self) -> None:
        """Take out of the space what the baseline's training declared unbalanced."""
        self.space, left_out = balanced(self.space, self.study)
        if left_out:
            self.says(left_out)

    def _run(self, trials: Sequence[Trial]) -> None:
        """Run ``trials`` at once."""
        running = list(trials)
        try:
            with ExitStack() as around:
                for trial in trials:
                    if len(trials) > 1:
                        trial.set_user_attr(budget.FLEET, len(trials))
                    around.enter_context(send_heartbeats(self.study, trial, self.settings.heartbeat))
                around.enter_context(self.overdue.own(running))
                if not all(self._await_reference(trial) for trial in trials):
                    self._give_back(running)
                    return
                self._narrow()
                self._try(running)
        except UpdateFinishedTrialError:
            numbers = " and ".join(str(trial.number) for trial in running)
            self.says(f"trial {numbers}: its heartbeat was missing for too long, so another worker runs it now")
            self._give_back(running)
        except stop.Overdue:
            self._give_back(running[1:])
        except BaseException:
            # The search was stopped, or the baseline is missing: the trials themselves did not fail.
            self._give_back(running)
            raise

    def _give_back(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            with suppress(UpdateFinishedTrialError):
                budget.give_back(self.study, trial)

    def _tell_deaths(self) -> None:
        """Say which trials of any worker ended with their process, each once."""
        for number, sentence in budget.deaths(self.study).items():
            if number not in self._told:
                self.says(f"trial {number}: {sentence}")
                self._told.add(number)

    def _try(self, running: list[Trial]) -> None:
        """Train the ``running`` trials and tell their results; those that are told are removed from the list."""
        left = []
        for one, outcome in self._trained([self._begin(trial) for trial in running]):
            if outcome is None:
                left.append(one)
            else:
                self._end(one, outcome, running)
        for i, one in enumerate(left):
            if i and self._over():
                self._give_back(running)
                return
            self._end(one, self._alone(one), running)

    def _begin(self, trial: Trial) -> BegunTrial:
        begun = BegunTrial(trial, time.monotonic(), bool(trial.user_attrs.get("baseline")))
        try:
            candidate = self.space.suggest(trial)
            trial.set_user_attr(PLACE, place := trial_place(trial.number, candidate))
            trial.set_user_attr("candidate", candidate.plain())
            trial.set_user_attr("label", candidate.label)
            report = reporter_into(begun.curve) if begun.baseline else self.scores.reporter(trial)
            begun.task = Task(candidate, self.settings.seed, self.directory / place, report)
        except UpdateFinishedTrialError:
            raise
        except Exception as error:
            begun.error = error
        return begun

    def _trained(self, begun: Sequence[BegunTrial]) -> Iterator[tuple[BegunTrial, Result | Exception | None]]:
        """The result of each trial, as soon as it is known; ``None`` for one that is to be trained alone."""
        yield from ((one, one.error) for one in begun if one.error is not None)
        ready = [one for one in begun if one.error is None]
        if len(ready) < 2 or not isinstance(self.runner, FleetRunner):
            yield from ((one, None) for one in ready)
            return
        self.says(fleet_line([one.trial.number for one in ready]))
        for i, outcome in self.runner.many([one.task for one in ready if one.task is not None]):
            ready[i].seconds = (time.monotonic() - ready[i].started) / len(ready)
            ready[i].at_once = outcome is not None
            yield ready[i], outcome

    def _alone(self, begun: BegunTrial) -> Result | Exception:
        task = begun.task
        assert task is not None
        if budget.FLEET in begun.trial.user_attrs:
            begun.trial.set_user_attr(budget.FLEET, 1)
        begun.started = time.monotonic()
        try:
            return self.runner(task.candidate, task.seed, task.directory, task.report)
        except UpdateFinishedTrialError:
            raise
        except Exception as error:
            return error
        finally:
            begun.seconds = time.monotonic() - begun.started

    def _end(self, begun: BegunTrial, outcome: Result | Exception, running: list[Trial]) -> None:
        """Tell the outcome of a trial, and take it out of those that are ``running``."""
        trial, baseline = begun.trial, begun.baseline
        try:
            if isinstance(outcome, Exception):
                raise outcome
            self.scores.check(outcome.metrics)
        except Pruned:
            trial.set_user_attr("seconds", round(begun.seconds, 3))
            self.study.tell(trial, state=TrialState.PRUNED)
        except UpdateFinishedTrialError:
            raise
        except Exception as error:
            place = self.directory if begun.task is None else begun.task.directory
            if disk_error(error, place) is not None:
                raise  # every other trial would fail too: this one is given back
            sentence = first_line(error)
            trial.set_user_attr("error", sentence)
            self.study.tell(trial, state=TrialState.FAIL)
            if baseline:
                raise ConfigError(f"The equal-weights run must finish, but it failed: {sentence}") from error
        else:
            assert begun.task is not None
            assert isinstance(outcome, Result)
            trial.set_user_attr("seconds", round(begun.seconds, 3))
            if baseline:
                # Its scores are known only now that it is finished; pruners compare other trials with them.
                for step, metrics in begun.curve.items():
                    self.scores.report(trial, step, metrics, outcome.metrics)
            self._tell(trial, begun.task.candidate, outcome)
        if trial.number < MANY or trial.number % 10 == 0:
            write_search_json(self.directory, self.study, self.goals, self.settings.objectives)
        running.remove(trial)
        passed, more = time.monotonic() - self._started, len(running) if begun.at_once else 0
        self.says(trial_line(self.study, trial.number, self.settings.n_trials, passed, more))

    def _tell(self, trial: Trial, candidate: Candidate, result: Result) -> None:
        trial.set_user_attr("metrics", dict(result.metrics))
        trial.set_user_attr("final_weights", dict(result.final_weights))
        trial.set_user_attr("mean_weight_sum", result.mean_weight_sum)
        if result.unbalanced:
            trial.set_user_attr("unbalanced", list(result.unbalanced))
        score = self.scores.score(result.metrics)
        trial.set_user_attr("score", score)
        self.study.tell(trial, [score if name == SCORE else result.metrics[name] for name in self.settings.objectives])
        offer(self.study, self.space, candidate, result)

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
