"""Runs a sweep as an Optuna study: asks for overrides, launches jobs, reads their results, tells the study."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.utils import JobReturn
from hydra_plugins.hydra_autoloss._jobs import Job, assign, not_finite, result
from hydra_plugins.hydra_autoloss._plan import Plan, overrides
from omegaconf import OmegaConf
from optuna.pruners import NopPruner
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from autoloss.app.composition import added_dirs, allow_new_terms, composed
from autoloss.app.factories import build_problem
from autoloss.app.hydra_app import FAILED, USER_ERROR
from autoloss.app.prepare import prepare
from autoloss.app.screen import say, shown
from autoloss.app.signal_handlers import stopping
from autoloss.core.errors import AutolossError, ConfigError, first_line, require
from autoloss.core.io.files import write_json
from autoloss.core.metrics.score import relative_improvement
from autoloss.search import budget
from autoloss.search.dashboard import NAME
from autoloss.search.heartbeat import WorkerWatch
from autoloss.search.runner import SCORE
from autoloss.search.samplers import build_sampler, sentences
from autoloss.search.space import BASELINE
from autoloss.search.stop import Stopped
from autoloss.search.study import open_storage, open_study

if TYPE_CHECKING:
    from hydra_plugins.hydra_autoloss.sweeper import AutolossSweeper

# Keys that do not change the result of a run.
_HOW = ("ckpt", "fresh", "load", "name", "test", "threads", "workers")


class LaunchError(Exception):
    """The launcher itself failed, not a job."""


def sweep(sweeper: AutolossSweeper, arguments: Sequence[str], directory: Path) -> None:
    """Run or continue the sweep in ``directory``; ends the process with an exit code if it cannot."""
    try:
        with stopping():
            Shell(sweeper, arguments, directory).run()
    except Stopped as stop:
        say(f"autoloss: stopped by {stop}; the same command goes on from here.")
    except (AutolossError, LaunchError) as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        say(f"autoloss: {error}", error=True)
        raise SystemExit(USER_ERROR if isinstance(error, AutolossError) else FAILED) from error


class Shell:
    """One sweep; building it raises an error if anything is wrong with its configuration."""

    def __init__(self, sweeper: AutolossSweeper, arguments: Sequence[str], directory: Path) -> None:
        assert sweeper.config is not None
        assert sweeper.hydra_context is not None
        require(sweeper.n_trials >= 1, "hydra.sweeper.n_trials must be at least 1", f"it is {sweeper.n_trials}")
        require(sweeper.n_jobs >= 1, "hydra.sweeper.n_jobs must be at least 1", f"it is {sweeper.n_jobs}")
        require(
            sweeper.grid_points >= 1, "hydra.sweeper.grid_points must be at least 1", f"it is {sweeper.grid_points}"
        )
        self.sweeper, self.directory, self.hydra = sweeper, directory, sweeper.config.hydra
        build_sampler(sweeper.sampler, 0, 1)
        about_hydra: Any = OmegaConf.to_container(self.hydra.overrides.hydra, resolve=False)
        self._paths = [o for o in about_hydra if o.lstrip("+").startswith("hydra.searchpath")]
        self._added = added_dirs(self.hydra)
        self.plan = Plan.read(arguments, sweeper.hydra_context.config_loader)
        self.config = self._composed(overrides(self.plan.equal or {}))
        self.equal = self.plan.equal if self.config["weighting"]["name"] == BASELINE else None
        self.goals = dict(build_problem(self.config).metrics)
        self.metric = self._metric(sweeper.metric)
        for values in self.plan.options():
            self._composed(overrides(values))
        self.study: Study
        self._launched = 0

    def run(self) -> None:
        """Launch batches until the budget is spent."""
        if self.config["fresh"]:
            self._remove_old_runs()
        goal = "max" if self.metric == SCORE else self.goals[self.metric]
        storage = open_storage(None, self.directory)
        direction = "maximize" if goal == "max" else "minimize"
        self.study = open_study(storage, NAME, self._about(), [direction], NopPruner())
        self._requeue_abandoned()
        limit = self._queue()
        seed = self.config["seed"] if self.sweeper.seed is None else self.sweeper.seed
        # A resumed sampler must draw new values, so it needs another seed; qmc keeps its position in the study.
        drawn = 0 if self.sweeper.sampler["name"] == "qmc" else 1000 * len(self.study.trials)
        branches = self.plan.branches
        self.study.sampler = build_sampler(self.sweeper.sampler, int(seed) + drawn, 1, branches, limit)
        for line in sentences(self.sweeper.sampler, branches, limit, "hydra.sweeper.n_trials"):
            say(line)
        begun = len(budget.counted(self.study))
        left = f"{begun} finished, {max(0, limit - begun)} to go" if begun else f"{limit} trials"
        say(f"{left} in {shown(self.directory)}, for the best {self.metric} ({goal})")
        while batch := self._batch(limit):
            with self._kept(batch):
                self._launch(batch)
            self._say(limit)

    def _composed(self, swept: Sequence[str]) -> dict[str, Any]:
        """The configuration of a job, after its components were built."""
        config = composed("train", [*self._paths, *self.plan.constant, *swept], self._added)
        here = str(self.hydra.launcher.get("_target_", "")).endswith(("BasicLauncher", "AutolossFleetLauncher"))
        prepare(config, here=here)
        return config

    def _metric(self, asked: str | None) -> str:
        if asked is None:
            return SCORE if self.equal is not None else next(iter(self.goals))
        names = f"score or one of {', '.join(self.goals)}"
        require(asked in (SCORE, *self.goals), f"hydra.sweeper.metric must be {names}", f"it is {asked!r}")
        scored = asked != SCORE or self.equal is not None
        advice = "Add equal to the choices of weighting."
        require(scored, "A score needs a run with equal weights", "no job of this sweep has weighting=equal", advice)
        return asked

    def _about(self) -> dict[str, Any]:
        axes = {key: str(of) for key, of in self.plan.axes.items()}
        return {"sweep": axes, "metric": self.metric, **_essence(self.config)}

    def _remove_old_runs(self) -> None:
        (self.directory / "study.log").unlink(missing_ok=True)
        for path in self.directory.glob("[0-9][0-9][0-9][0-9]"):
            shutil.rmtree(path)

    def _requeue_abandoned(self) -> None:
        """Queue again the trials that an earlier process of this sweep was running when it ended."""
        watch = WorkerWatch(grace=0.0)
        for _ in range(2):
            # Twice: a worker on another machine counts as dead if its heartbeat has not changed in between.
            budget.requeue_dead(self.study, watch)
        running = [t.number for t in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING])]
        found = f"another process runs trial {running[0]} of {shown(self.directory)}" if running else ""
        advice = "Wait until it ends, or write another hydra.sweep.dir=."
        require(not running, "A sweep must be run by one process", found, advice)

    def _queue(self) -> int:
        """Queue the baseline and the grid, once; gives the total number of trials."""
        limit, kept = self.sweeper.n_trials, budget.kept(self.study)
        not_failed = [t for t in kept if t.state != TrialState.FAIL]
        if self.equal is not None and not any(t.user_attrs.get("baseline") for t in not_failed):
            self._queue_baseline()
        grid = list(self.plan.grid(self.sweeper.grid_points)) if self.sweeper.sampler["name"] == "grid" else []
        # With few trials a sampler might never choose some of the weightings.
        for number, values in enumerate((grid or self.plan.turns()[: limit - 1]) if not kept else []):
            self.study.enqueue_trial(values, user_attrs={"planned": number})
        return min(limit, len(grid) + (self.equal is not None)) if grid else limit

    def _queue_baseline(self) -> None:
        # If only the weighting is swept, the sampler can learn from this trial; else its other keys have no values.
        known = self.equal if self.equal and set(self.equal) == set(self.plan.axes) else {}
        self.study.enqueue_trial(known or {}, user_attrs={"baseline": True})

    def _batch(self, limit: int) -> list[Job]:
        """The next jobs: ``n_jobs`` that must be launched, and those whose configuration has a result already."""
        jobs: list[Job] = []
        done = self._done()
        while len({job.name for job in jobs} - done) < self.sweeper.n_jobs:
            trial = budget.ask(self.study, limit)
            if trial is None:
                break
            baseline = bool(trial.user_attrs.get("baseline"))
            values = (self.equal or {}) if baseline else self.plan.suggest(trial)
            trial.set_user_attr("label", BASELINE if baseline else _label(values))
            jobs.append(self._job(trial, overrides(values)))
        return sorted(jobs, key=lambda job: not job.baseline)

    def _job(self, trial: Trial, swept: list[str]) -> Job:
        wrong = None
        try:
            config = _essence(self._composed(swept))
        except AutolossError as error:
            # Values that do not go together make this job fail, not the sweep.
            config, wrong = {"overrides": swept}, first_line(error)
        return Job(trial, tuple(swept), assign(self.study, trial, config), wrong)

    def _done(self) -> set[str]:
        complete = self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        return {str(t.user_attrs["directory"]) for t in complete}

    @contextmanager
    def _kept(self, batch: Sequence[Job]) -> Iterator[None]:
        """If the sweep is stopped within it, the jobs of ``batch`` without a result are queued again."""
        try:
            yield
        except BaseException:
            for job in batch:
                if self._state(job) == TrialState.RUNNING:
                    budget.give_back(self.study, job.trial)
            raise

    def _launch(self, batch: Sequence[Job]) -> None:
        done, todo = self._done(), dict[str, list[str]]()
        for job in batch:
            if job.wrong:
                write_json(self.directory / job.name / "failed.json", {"error": job.wrong})
            elif job.name not in done:
                own = allow_new_terms([*self.plan.constant, *job.swept], self._added)
                # The last override wins: it replaces the directory that is named by the swept values.
                todo[job.name] = [*own, f"hydra.sweep.subdir='{job.name}'"]
        returned: Mapping[str, JobReturn] = {}
        crash = None
        assert self.sweeper.launcher is not None
        try:
            if todo:
                jobs = list(todo.values())
                returned = dict(zip(todo, self.sweeper.launcher.launch(jobs, self._launched), strict=True))
        except Exception as error:
            crash = error
        self._launched += len(todo)
        for job in batch:
            self._tell(job, returned.get(job.name))
        if crash is not None:
            raise LaunchError(
                f"The launcher must run its jobs, but it failed: {first_line(crash).rstrip('.')}. "
                "The same command runs again the jobs that left no result."
            ) from crash

    def _tell(self, job: Job, returned: JobReturn | None) -> None:
        if self._state(job) != TrialState.RUNNING:
            return
        run = result(self.directory / job.name, returned)
        error = run.error or (not_finite(run, self.goals) if run.finished else None)
        if error is not None:
            job.trial.set_user_attr("error", error)
            self.study.tell(job.trial, state=TrialState.FAIL)
            if job.baseline and self.metric == SCORE:
                # Queued before the rest of its batch: no run can be scored without it.
                self._queue_baseline()
                raise ConfigError(f"The equal-weights run must finish, but it failed: {error}")
        elif run.summary is not None:
            self._tell_metrics(job, run.summary)
        else:
            budget.give_back(self.study, job.trial)

    def _tell_metrics(self, job: Job, summary: Mapping[str, Any]) -> None:
        metrics = {name: summary["metrics"][name] for name in self.goals}
        reference = metrics if job.baseline else self._reference()
        if reference is not None:
            job.trial.set_user_attr(SCORE, relative_improvement(metrics, reference, self.goals))
        for name in ("metrics", "final_weights", "mean_weight_sum", "seconds"):
            job.trial.set_user_attr(name, summary[name])
        values = {**metrics, **job.trial.user_attrs}
        self.study.tell(job.trial, float(values[self.metric]))

    def _reference(self) -> dict[str, float] | None:
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.COMPLETE]):
            if trial.user_attrs.get("baseline"):
                return dict(trial.user_attrs["metrics"])
        return None

    def _state(self, job: Job) -> TrialState:
        frozen: FrozenTrial = self.study._storage.get_trial(job.trial._trial_id)
        return frozen.state

    def _say(self, limit: int) -> None:
        counted = budget.counted(self.study)
        failed = sum(t.state == TrialState.FAIL for t in counted)
        said = f"{len(counted)} of {limit} trials" + (f", {failed} failed" if failed else "")
        if len(counted) > failed:
            best = self.study.best_trial
            said += f"; best {self.metric} {best.value:.4g}: {best.user_attrs['directory']} {best.user_attrs['label']}"
        say(said)


def _essence(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key not in _HOW}


def _label(values: Mapping[str, Any]) -> str:
    return " ".join(
        str(value) if key == "weighting" else f"{key}={f'{value:.3g}' if isinstance(value, float) else value}"
        for key, value in values.items()
    )
