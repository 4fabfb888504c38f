"""Trains several runs: those that differ in numbers only as one fleet, the others one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.callbacks import Callback

from autoloss.app.data_card import show_card
from autoloss.app.fleet_groups import obstacle, structure_of
from autoloss.app.prepare import PreparedRun, prepare
from autoloss.app.run_summary import check_finite, write_summary
from autoloss.app.screen import say
from autoloss.app.train_one import quiet, train
from autoloss.core.datasets import size_of
from autoloss.core.errors import AutolossError, require
from autoloss.core.need import GRADIENTS
from autoloss.report.runs import FINISHED
from autoloss.search import stop
from autoloss.training.fleet.fleet import Clip
from autoloss.training.fleet.member import Member, check_members
from autoloss.training.fleet.price import check_faster
from autoloss.training.fleet.shared_data import SharedData
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.fleet.training import FleetTraining, Job, MemberResult, Plan, Report
from autoloss.training.lightning.callbacks.report_metrics import ReportMetrics
from autoloss.training.lightning.run_module import RunModule


@dataclass(slots=True)
class Request:
    """A run to be trained, as for :func:`train`."""

    config: Mapping[str, Any]
    directory: Path
    overrides: Sequence[str] = ()
    title: str = ""
    command: Sequence[str] = ()
    report: Report | None = None
    fold: tuple[int, int] | None = None


Trained = dict[str, Any] | Exception
Built = tuple[int, PreparedRun, RunModule, Job]
ENOUGH = 12  # members for which a fleet of their own is worth it
AUTO = 16  # of more members one costs hardly less, and a sampler learns more seldom


def fleet_size(given: Any, key: str = "search.fleet") -> int:
    """How many members a fleet has at most; ``auto`` lets autoloss choose."""
    if given == "auto":
        return AUTO
    good = isinstance(given, int) and not isinstance(given, bool) and given >= 1
    require(good, f"{key} must be auto, or a number of at least 1", f"it is {given!r}", "1 trains one after the other.")
    return int(given)


@dataclass(slots=True)
class FleetRuns:
    """Trains runs, at most ``most`` of them at once. What it says of a group is said once."""

    most: int = 16
    says: Callable[[str], None] = say
    _told: set[str] = field(default_factory=set)
    _tried: set[str] = field(default_factory=set)

    def train(self, requests: Sequence[Request]) -> list[Trained]:
        """The summary of each run, or the error that ended it; a request to stop is raised."""
        found: dict[int, Trained] = {}
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            key = obstacle(request.config)
            if key and len(requests) > 1:
                self._say(f"A fleet does not follow {key}.")
            groups.setdefault("" if key else structure_of(request.config), []).append(i)
        for key, members in groups.items():
            size = min(self.most, len(members))
            for start in range(0, len(members), max(1, size)):
                part = members[start : start + size]
                together = [requests[i] for i in part]
                found.update(zip(part, self._train_group(key, together), strict=True))
        return [found[i] for i in range(len(requests))]

    def _train_group(self, key: str, requests: Sequence[Request]) -> list[Trained]:
        if len(requests) > 1 and key:
            together = _Together(requests, self._tried)
            try:
                found = together.train()
                for why in together.whys:
                    self._say(why)
                return found
            except (torch.OutOfMemoryError, MemoryError):
                half = (len(requests) + 1) // 2
                self.most = min(self.most, half)
                self.says(f"memory ran out: fleets of {half} from now on")
                return [*self._train_group(key, requests[:half]), *self._train_group(key, requests[half:])]
        return [_alone(request) for request in requests]

    def _say(self, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            self.says(f"trained one by one: {why}")


class _Together:
    """One fleet of runs."""

    def __init__(self, requests: Sequence[Request], tried: set[str]) -> None:
        quiet()
        self.tried = tried  # structures that were found to be faster together
        self.requests = list(requests)
        self.begun = time.perf_counter()
        self.whys: list[str] = []  # why some were not trained together

    def train(self) -> list[Trained]:
        found: dict[int, Trained] = {}
        built: list[Built] = []
        shared = SharedData()
        for i, request in enumerate(self.requests):
            try:
                built.append((i, *_built(request, shared)))
            except Exception as error:
                # A fault of the run itself is raised alone, too.
                found[i] = self._alone(i, error)
        for part in _parts(built):
            try:
                outcomes = self._run(part) if len(part) > 1 else []
            except (torch.OutOfMemoryError, MemoryError):
                raise
            except Exception as error:
                # What vmap cannot do, torch says in exceptions of many kinds.
                found.update({i: self._alone(i, error) for i, *_ in part})
                continue
            for (i, prepared, module, _), outcome in zip(part, outcomes, strict=False):
                found[i] = self._result(self.requests[i], prepared, module, outcome)
            for i, *_ in part[len(outcomes) :]:
                found[i] = _alone(self.requests[i])
        return [found[i] for i in range(len(self.requests))]

    def _alone(self, i: int, error: Exception) -> Trained:
        """Train a run alone that cannot be a member because of ``error``, and keep the reason if it trains then."""
        trained = _alone(self.requests[i])
        if not isinstance(trained, Exception):
            self.whys.append(str(error).splitlines()[0])
        return trained

    def _run(self, part: Sequence[Built]) -> list[MemberResult]:
        jobs = [job for _, _, _, job in part]
        config = part[0][1].config
        plan = _plan(config)
        if config["threads"]:
            torch.set_num_threads(config["threads"])
        if (key := structure_of(config)) not in self.tried:
            check_faster(jobs, plan)
            self.tried.add(key)
        return FleetTraining(jobs, plan, between=stop.check).train()

    def _result(self, request: Request, prepared: PreparedRun, module: RunModule, outcome: MemberResult) -> Trained:
        if isinstance(outcome.error, Exception):
            return outcome.error
        try:
            check_finite(outcome.metrics, "validation")
            if outcome.test_metrics:
                check_finite(outcome.test_metrics, "test")
        except AutolossError as error:
            return error
        return write_summary(
            request.directory,
            module,
            prepared.config,
            given=request.config,
            state=FINISHED,
            metrics=outcome.metrics,
            test_metrics=outcome.test_metrics,
            steps=outcome.steps,
            seconds=(time.perf_counter() - self.begun) / len(self.requests),
            overrides=request.overrides,
            command=request.command,
            constant={} if request.fold else prepared.problem.constant_metrics(),
        )


def _parts(built: Sequence[Built]) -> list[list[Built]]:
    """The fleets that the members make.

    Weightings that compare gradients cost K passes for all members of a fleet, so where there are enough of either kind
    they have a fleet of their own. A small fleet costs more for each member than those passes do.
    """
    plain, costly = (
        [one for one in built if bool(one[2].player.weighting.needs & GRADIENTS) is way] for way in (False, True)
    )
    return [costly, plain] if min(len(costly), len(plain)) >= ENOUGH else [list(built)]


def _built(request: Request, shared: SharedData) -> tuple[PreparedRun, RunModule, Job]:
    """The parts of a run, built as for a run alone."""
    prepared = prepare(request.config)
    prepared.restore_random()
    config, problem = prepared.config, prepared.problem
    if prepared.learns_from_held_out:
        raise UnlikeError(
            f"{prepared.ingredients.weighting.title()!r} learns from held-out data, which a fleet has not."
        )
    fold, seed = request.fold, config["seed"]
    data = problem.datasets(seed) if fold is None else problem.folds(fold[1], seed)[fold[0]]
    data = {split: shared.one(split, dataset) for split, dataset in data.items()}
    module = prepared.module(data["train"])
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer = prepared.ingredients.optimizer(parameters)
    plan = _plan(config)
    steps = plan.steps(size_of(data["train"], "A fleet", "Write __len__."))
    member = Member(
        problem,
        module.network,  # type: ignore[arg-type]
        module.losses,
        module.player,
        optimizer,
        prepared.ingredients.scheduler(optimizer, steps),
    )
    check_members([member])
    request.directory.mkdir(parents=True, exist_ok=True)
    show_card(problem, request.directory)
    test = bool(config["test"]) and "test" in data
    return prepared, module, Job(member, request.directory, seed, data, request.report, config, test)


def _plan(config: Mapping[str, Any]) -> Plan:
    trainer = config["trainer"]
    size = float(trainer.get("gradient_clip_val") or 0.0)
    by_value = trainer.get("gradient_clip_algorithm") == "value"
    return Plan(
        trainer["max_epochs"],
        config["batch_size"],
        trainer.get("accumulate_grad_batches") or 1,
        (Clip(value=size) if by_value else Clip(norm=size)) if size else None,
        trainer.get("check_val_every_n_epoch") or 1,
        config["record"]["every"],
    )


def train_alone(request: Request) -> dict[str, Any]:
    """Train one run; the metrics of each validation are reported, if it is no fold."""
    callbacks: list[Callback] = [] if request.report is None else [ReportMetrics(request.report)]
    return train(
        request.config,
        request.directory,
        request.overrides,
        callbacks=callbacks,
        title=request.title,
        fold=request.fold,
        command=request.command,
    )


def _alone(request: Request) -> Trained:
    try:
        return train_alone(request)
    except Exception as error:
        return error
