"""Trains the jobs of a sweep as fleets, each in its own directory, as jobs that Hydra starts one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from autoloss.app.directories import check_run, finished
from autoloss.app.fleet_request import Request, Trained
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.run_lock import run_lock
from autoloss.app.screen import say
from autoloss.app.train_job import TrainJob
from autoloss.core.errors import AutolossError

# A file in a run's directory while a fleet trains it, with the size of the fleet that may train it if the process dies.
MARK = "in_fleet"
Run = Callable[[int, Trained | None], None]


def train_jobs(jobs: Sequence[TrainJob | None], run: Run, most: int) -> None:
    """Call ``run`` once for each of ``jobs``: with its place, and with its result if it was trained in a fleet.

    With ``None`` for a result ``run`` trains the job, or skips it. ``None`` among the jobs stands for one whose
    configuration cannot be told here. A fleet has at most ``most`` members. The runs of a fleet whose process died are
    trained in fleets of half the size the next time, after the others: one of them may have killed it.
    """
    with _Held() as held:
        waiting = [i for i in held.take(jobs) if _must_be_trained(jobs[i])]
        done: set[int] = set()

        def hand_over(i: int, trained: Trained | None) -> None:
            done.add(i)
            held.free(jobs[i])
            run(i, trained)

        place = {job.directory: i for i in waiting if (job := jobs[i]) is not None}

        def alone(request: Request) -> dict[str, Any]:
            hand_over(place[request.directory], None)
            summary = finished(request.directory, request.config)
            if summary is None:
                raise RuntimeError(f"{request.title} failed")
            return summary

        for size, group in sorted(_by_size(jobs, waiting, most).items(), reverse=True):
            half = (min(size, len(group)) + 1) // 2
            requests = [held.begin(jobs[i], half) for i in group]
            if len(group) > 1:
                say(f"{len(group)} runs, at most {size} at once")
            for number, trained in FleetRuns(size, one=alone).each(requests):
                if group[number] not in done:
                    hand_over(group[number], trained)
    for i, job in enumerate(jobs):
        if i not in done:
            run(i, None)
            if job is not None:
                (job.directory / MARK).unlink(missing_ok=True)


class _Held:
    """The directories of the jobs that are trained here, locked until the result of each is handed over."""

    def __init__(self) -> None:
        self._locks: dict[Path, ExitStack] = {}
        self._begun: set[Path] = set()

    def __enter__(self) -> _Held:
        return self

    def __exit__(self, *error: Any) -> None:
        for directory in list(self._locks):
            self._free(directory)

    def take(self, jobs: Sequence[TrainJob | None]) -> list[int]:
        """Lock the directory of each job; the places of the jobs, the first one where two share a directory."""
        first: dict[Path, int] = {}
        for i, job in enumerate(jobs):
            if job is not None:
                first.setdefault(job.directory, i)
        for directory, i in sorted(first.items()):
            # In this order two processes that train the same jobs never wait for each other.
            job = jobs[i]
            assert job is not None
            self._locks[directory] = ExitStack()
            self._locks[directory].enter_context(run_lock(directory, job.title, waits=True))
        return sorted(first.values())

    def free(self, job: TrainJob | None) -> None:
        """Unlock the directory of ``job``, which no fleet trains any more."""
        if job is not None:
            self._free(job.directory)

    def _free(self, directory: Path) -> None:
        if (stack := self._locks.pop(directory, None)) is not None:
            with stack:
                if directory in self._begun:
                    (directory / MARK).unlink(missing_ok=True)

    def begin(self, job: TrainJob | None, half: int) -> Request:
        """Mark ``job`` as trained in a fleet, whose ``half`` may train it again; the request for its training."""
        assert job is not None
        job.begin()
        self._begun.add(job.directory)
        (job.directory / MARK).write_text(str(half))
        return Request(job.config, job.directory, job.overrides, job.title)


def _by_size(jobs: Sequence[TrainJob | None], waiting: Sequence[int], most: int) -> dict[int, list[int]]:
    """The places of the ``waiting`` jobs, by the size that the fleets of their like may have."""
    found: dict[int, list[int]] = {}
    for i in waiting:
        job = jobs[i]
        assert job is not None
        found.setdefault(min(most, _marked(job) or most), []).append(i)
    return found


def _marked(job: TrainJob) -> int:
    """How large a fleet may be that trains ``job`` again, since one died; 0 for any size."""
    mark = job.directory / MARK
    return int(mark.read_text() or 1) if mark.exists() else 0


def _must_be_trained(job: TrainJob | None) -> bool:
    """Whether a fleet may train ``job``, from its first step; what it is refused for, its own start says."""
    assert job is not None
    try:
        if job.finished() or job.checkpoint() or _marked(job) == 1:
            return False
        check_run(job.directory, job.config)
    except AutolossError:
        return False
    return True
