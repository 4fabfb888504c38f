"""Trains several runs: those that differ in numbers only as one fleet, the others one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from autoloss.app.fleet_groups import obstacle, structure_of
from autoloss.app.fleet_members import Built, built, plan_of, samples_of
from autoloss.app.fleet_progress import fleet_progress
from autoloss.app.fleet_request import Request, Trained, train_alone
from autoloss.app.run_summary import check_finite, write_summary
from autoloss.app.screen import say
from autoloss.app.train_one import quiet
from autoloss.core.errors import AutolossError, require
from autoloss.core.io.files import MODEL
from autoloss.core.need import GRADIENTS
from autoloss.report.runs import FINISHED
from autoloss.search import stop
from autoloss.training.fleet.alike import alike
from autoloss.training.fleet.price import check_faster
from autoloss.training.fleet.room import NoRoomError, check_room
from autoloss.training.fleet.shared_data import SharedData
from autoloss.training.fleet.stacked import UnlikeError
from autoloss.training.fleet.training import FleetTraining, MemberResult
from autoloss.training.saved_model import save_model

ENOUGH = 12  # members for which a fleet of their own is worth it
AUTO = 32  # of more members one costs hardly less


def fleet_size(given: Any, key: str = "search.fleet") -> int:
    """How many members a fleet has at most; ``auto`` lets autoloss choose."""
    if given == "auto":
        return AUTO
    good = isinstance(given, int) and not isinstance(given, bool) and given >= 1
    require(good, f"{key} must be auto, or a number of at least 1", f"it is {given!r}", "1 trains one after the other.")
    return int(given)


@dataclass(slots=True)
class FleetRuns:
    """Trains runs, at most ``most`` of them at once. What it says of a group is said once.

    ``most`` becomes smaller where memory runs out, and 1 where none of several runs could be trained with others. A run
    that cannot be in a fleet is trained by ``one``.
    """

    most: int = AUTO
    says: Callable[[str], None] = say
    one: Callable[[Request], dict[str, Any]] = train_alone
    _told: set[str] = field(default_factory=set)
    _tried: set[str] = field(default_factory=set)
    _whys: dict[Path, str] = field(default_factory=dict)  # of runs that were left to be trained alone

    def train(self, requests: Sequence[Request]) -> list[Trained]:
        """The summary of each run, or the error that ended it; a request to stop is raised."""
        found = dict(self.each(requests))
        return [found[i] for i in range(len(requests))]

    def each(self, requests: Sequence[Request]) -> Iterator[tuple[int, Trained]]:
        """As :meth:`train`: the number and the result of each run, as soon as it is known."""
        left = []
        for i, trained in self.together(requests):
            if trained is None:
                left.append(i)
            else:
                yield i, trained
        for i in left:
            try:
                found: Trained = self.alone(requests[i])
            except Exception as error:
                found = error
            yield i, found

    def together(self, requests: Sequence[Request]) -> Iterator[tuple[int, Trained | None]]:
        """As :meth:`each`; the runs that must be trained alone are ``None``, and are not trained."""
        groups: dict[str, list[int]] = {}
        for i, request in enumerate(requests):
            key = obstacle(request.config)
            if key and len(requests) > 1:
                self._say(f"A fleet does not follow {key}.")
                self._whys[request.directory] = ""  # it is said
            groups.setdefault("" if key else structure_of(request.config), []).append(i)
        for key, members in groups.items():
            for part in _even(members, self.most if key else 1):
                yield from self._train_group(part, requests)
        if len(requests) > 1 and all(request.directory in self._whys for request in requests):
            self.most = 1

    def alone(self, request: Request) -> dict[str, Any]:
        """Train one run. If it was left out of a fleet and finishes, so that the cause was the fleet's, it is said."""
        why = self._whys.pop(request.directory, "")
        trained = self.one(request)
        if why:
            self._say(why)
        return trained

    def check(self, config: Mapping[str, Any]) -> None:
        """Say now if the runs of ``config`` cannot be a fleet, so that nobody asks for several at once."""
        if self.most > 1 and (key := obstacle(config)):
            self._say(f"A fleet does not follow {key}.")
            self.most = 1

    def _say(self, why: str) -> None:
        if why not in self._told:
            self._told.add(why)
            self.says(f"trained one by one: {why}")

    def _train_group(self, group: Sequence[int], requests: Sequence[Request]) -> Iterator[tuple[int, Trained | None]]:
        if len(group) < 2:
            yield from ((i, None) for i in group)
            return
        together = _Together([requests[i] for i in group], self._tried)
        try:
            found = together.train()
        except NoRoomError as error:
            self.says(f"memory has room for {error.room} at once: fleets of {error.room} from now on")
            yield from self._in_parts(group, error.room, requests)
            return
        except (torch.OutOfMemoryError, MemoryError):
            half = (len(group) + 1) // 2
            self.says(f"memory ran out: fleets of {half} from now on")
            yield from self._in_parts(group, half, requests)
            return
        self._whys.update(together.whys)
        yield from zip(group, found, strict=True)

    def _in_parts(
        self, group: Sequence[int], size: int, requests: Sequence[Request]
    ) -> Iterator[tuple[int, Trained | None]]:
        self.most = min(self.most, size)
        for part in _even(group, size):
            yield from self._train_group(part, requests)


def _even(members: Sequence[int], most: int) -> list[Sequence[int]]:
    """Parts of ``members``, as few as there can be and of much the same size: a small fleet costs more for each.

    >>> _even(range(5), 4)
    [range(0, 3), range(3, 5)]
    """
    parts = -(-len(members) // max(1, most))
    size = -(-len(members) // max(1, parts))
    return [members[i : i + size] for i in range(0, len(members), max(1, size))]


class _Together:
    """One fleet of runs."""

    def __init__(self, requests: Sequence[Request], tried: set[str]) -> None:
        quiet()
        self.tried = tried  # structures that were found to be faster together
        self.requests = list(requests)
        self.begun = time.perf_counter()
        self.whys: dict[Path, str] = {}  # why some were not trained together

    def train(self) -> list[Trained | None]:
        found: dict[int, Trained | None] = dict.fromkeys(range(len(self.requests)))
        members: list[Built] = []
        shared = SharedData()
        for i, request in enumerate(self.requests):
            try:
                members.append((i, *built(request, shared)))
            except Exception as error:
                # A fault of the run itself is raised alone, too.
                self._leave(i, error)
        parts, differs = _parts(members)
        for part in parts:
            if len(part) == 1 and differs:
                self._leave(part[0][0], UnlikeError(differs))
            try:
                outcomes = self._run(part) if len(part) > 1 else []
            except (torch.OutOfMemoryError, MemoryError):
                raise
            except Exception as error:
                # What vmap cannot do, torch says in exceptions of many kinds.
                for i, *_ in part:
                    self._leave(i, error)
                continue
            for one, outcome in zip(part, outcomes, strict=False):
                found[one[0]] = self._result(one, outcome)
        return [found[i] for i in range(len(self.requests))]

    def _leave(self, i: int, error: Exception) -> None:
        self.whys[self.requests[i].directory] = str(error).splitlines()[0]

    @stop.no_exit()
    def _run(self, part: Sequence[Built]) -> list[MemberResult]:
        jobs = [job for _, _, _, job in part]
        config = part[0][1].config
        plan = plan_of(config)
        if config["threads"]:
            torch.set_num_threads(config["threads"])
        if (key := structure_of(config)) not in self.tried:
            check_room(jobs[0], plan, len(jobs))
            check_faster(jobs, plan)
            self.tried.add(key)
        training = FleetTraining(jobs, plan, between=stop.check)
        with fleet_progress(training, part[0][1].problem.metrics):
            return training.train()

    def _result(self, one: Built, outcome: MemberResult) -> Trained:
        i, prepared, module, job = one
        request = self.requests[i]
        if isinstance(outcome.error, Exception):
            return outcome.error
        try:
            check_finite(outcome.metrics, "validation")
            if outcome.test_metrics:
                check_finite(outcome.test_metrics, "test")
        except AutolossError as error:
            return error
        if prepared.config["checkpoint"]["every"]:
            place, samples = request.directory / MODEL, samples_of(job)
            save_model(place, prepared.problem, module.evaluated, module.player, prepared.config, samples)
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


def _parts(built: Sequence[Built]) -> tuple[list[list[Built]], str]:
    """The fleets that the members make, and in what their problems differ, if they do.

    Members whose gradients meet in a fork have a fleet of their own, and so have those that keep a part of the training
    data as held-out data: they train on fewer samples. Weightings that compare gradients cost K passes for all members
    of a fleet, so where there are enough of either kind they have a fleet of their own. A small fleet costs more for
    each member than those passes do.
    """
    likes: dict[tuple[int, str, int], list[Built]] = {}
    problems = alike([job for _, _, _, job in built])
    for one, (place, _) in zip(built, problems, strict=True):
        job = one[3]
        key = (len(job.data["train"]), job.member.fork, place)  # type: ignore[arg-type]  # it has a length
        likes.setdefault(key, []).append(one)
    differs = next((differs for _, differs in problems if differs), "")
    return [part for of in likes.values() for part in _by_cost(of)], differs and (
        f"Members of a fleet must have problems that hold the same, but {differs} differs, which the outputs or "
        "metrics read: put it into the batches. Train them apart."
    )


def _by_cost(built: Sequence[Built]) -> list[list[Built]]:
    plain, costly = (
        [one for one in built if bool(one[2].player.weighting.needs & GRADIENTS) is way] for way in (False, True)
    )
    return [costly, plain] if min(len(costly), len(plain)) >= ENOUGH else [list(built)]
