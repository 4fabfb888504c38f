"""What the first of several processes does in a training: it gives the others their task and sees to their end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import TracebackType
from typing import Any

import pytorch_lightning as pl
import torch.distributed as dist

from autoloss.app.hydra_app import FAILED, record_failure
from autoloss.app.ranks.environment import ALONE, RankEnvironment
from autoloss.app.ranks.group import START, Failure, Group, joined, store_at
from autoloss.app.screen import say
from autoloss.core.errors import AutolossError, RankError, first_line, require
from autoloss.search import stop

PLACE = "AUTOLOSS_PLACE"  # the environment variable with the place of a process that was started here
GRACE = 15.0  # seconds that a process has for its own end, once another one has failed
_FOLLOW = "import sys; sys.path[:] = {path!r}; from autoloss.app.follower import main; sys.exit(main())"


class Others:
    """Within it the ``others`` of a training do what this process does; on leaving it they are done with the task.

    Only :meth:`join` finds out whether there are any. If a launcher started them, they wait for a task; else they are
    started here and ended here. If one fails, this process fails too, with the sentence of the one that failed first;
    where it cannot, because it waits for that process, it is ended after :data:`GRACE` seconds.
    """

    def __init__(self) -> None:
        self._group: Group | None = None
        self._children: list[subprocess.Popen[bytes]] = []
        self._watch: _Watch | None = None
        self._meeting: Any = None
        self._joined = False
        self._had_group = dist.is_available() and dist.is_initialized()

    def __enter__(self) -> Others:
        return self

    def join(self, trainer: pl.Trainer, directory: Path, task: Mapping[str, Any]) -> None:
        """Let the others train the run of ``task`` in ``directory``, as ``trainer`` does in this process."""
        group, size = joined(), trainer.world_size
        if group is not None and group.place.rank:
            return
        if group is not None:
            require(
                size == group.place.size,
                "trainer.devices times trainer.num_nodes must be the number of processes that were started, "
                f"{group.place.size}",
                f"it is {size}",
            )
        if size == 1:
            return
        environment = trainer.strategy.cluster_environment  # type: ignore[attr-defined]
        assert isinstance(environment, RankEnvironment)
        if group is None:
            require(
                trainer.num_nodes == 1,
                "On several nodes a launcher must start the processes",
                f"trainer.num_nodes is {trainer.num_nodes} and there is none",
                "Start the command with torchrun or srun.",
            )
            group = Group(replace(ALONE, size=size))
        self._group = group
        if joined() is None:
            self._children = [_started(group, rank) for rank in group.others]
        self._meeting = store_at(group.place.address, 0, True)
        environment.meet(group.place.address, self._meeting.port)
        self._joined = True
        group.publish({**task, "directory": str(directory.resolve()), "meeting": environment_of(environment)})
        self._watch = _Watch(self, directory)
        self._await_start(group)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        group = self._group
        if group is None or not self._joined:
            self._end_children()
            self._leave()
            return
        cause = self._cause(error)
        try:
            if error is not None or stop.requested():
                group.give_up()
                self._end_children()
                self._leave()
            else:
                self._leave()
                self._await(lambda rank: group.is_done(rank) or self._has_died(rank))
                if found := self.failures():
                    cause = _error(found[0], group)
        finally:
            if self._children:
                group.publish({"end": 0})
                for child in self._children:
                    _ended_by_itself(child, 0.0 if error is not None or stop.requested() else GRACE)
            self._end_children()
            if self._watch is not None:
                self._watch.done.set()
        if cause is not error and cause is not None:
            raise cause from error

    def failures(self) -> list[Failure]:
        """What went wrong in the other processes: those that died first, then those that could say what it was."""
        group = self._group
        assert group is not None
        died = [Failure(rank, self._death(rank)) for rank in group.others if self._has_died(rank)]
        return died + group.failures()

    def _cause(self, error: BaseException | None) -> BaseException | None:
        """Why this process fails: its own ``error``, or that of another process, which broke the connection."""
        if error is None or isinstance(error, AutolossError) or not isinstance(error, Exception) or stop.requested():
            return error
        group, until = self._group, time.monotonic() + 3
        assert group is not None
        while not (found := self.failures()) and time.monotonic() < until:
            time.sleep(0.05)
        if not found or any(failure.sentence == first_line(error) for failure in found):
            return error
        if found[0].traceback:
            say(found[0].traceback, error=True)
        return _error(found[0], group)

    def _await_start(self, group: Group) -> None:
        self._await(lambda rank: group.has_taken(rank) or self._has_died(rank), START)
        if found := self.failures():
            raise _error(found[0], group)
        missing = [rank for rank in group.others if not group.has_taken(rank)]
        if missing:
            raise RankError(
                f"All {group.place.size} processes must start within {START:g} s, but {len(missing)} did not "
                f"(rank {missing[0]}). Start the command with torchrun or srun, which start all of them."
            )

    def _await(self, holds: Any, seconds: float = 60.0) -> None:
        group, until = self._group, time.monotonic() + seconds
        assert group is not None
        while not all(holds(rank) for rank in group.others) and time.monotonic() < until:
            stop.pause(0.02)

    def _has_died(self, rank: int) -> bool:
        group = self._group
        assert group is not None
        child = self._children[rank - 1] if self._children else None
        return child is not None and child.poll() is not None and not group.is_done(rank)

    def _death(self, rank: int) -> str:
        code = self._children[rank - 1].returncode
        return f"it was ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"

    def _end_children(self) -> None:
        for child in self._children:
            child.kill()
        for child in self._children:
            child.wait()

    def _leave(self) -> None:
        """Leave the process group, so that the next training of this process has one of its own."""
        if dist.is_available() and dist.is_initialized() and not self._had_group:
            dist.destroy_process_group()
        self._meeting = None


def environment_of(environment: RankEnvironment) -> list[Any]:
    """Where the process group meets: address and port."""
    return [environment.main_address, environment.main_port]


def _started(group: Group, rank: int) -> subprocess.Popen[bytes]:
    place = replace(group.place, rank=rank, local_rank=rank, port=group.port)
    # torch would print a stack of its own where the store is gone, which it is when this process was killed.
    quiet = {"TORCH_CPP_LOG_LEVEL": "ERROR"}
    environment = {**quiet, **os.environ, PLACE: json.dumps({"parent": os.getpid(), "place": asdict(place)})}
    return subprocess.Popen([sys.executable, "-c", _FOLLOW.format(path=sys.path)], env=environment)


def _ended_by_itself(child: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()


def _error(failure: Failure, group: Group) -> RankError:
    said = failure.sentence.rstrip(".")
    return RankError(
        f"All {group.place.size} processes of a training must reach its end, but process {failure.rank} failed: {said}."
    )


class _Watch(threading.Thread):
    """Ends this process if it has not ended by itself ``GRACE`` seconds after another one failed.

    It may wait in a collective operation for the one that failed; no signal and no exception reaches it there.
    """

    def __init__(self, others: Others, directory: Path) -> None:
        super().__init__(daemon=True)
        self.others, self.directory, self.done = others, directory, threading.Event()
        self.start()

    def run(self) -> None:
        since: float | None = None
        while not self.done.wait(0.5):
            found = self.others.failures()
            if not found:
                continue
            since = since or time.monotonic()
            if time.monotonic() - since > GRACE:
                assert self.others._group is not None
                record_failure(self.directory, _error(found[0], self.others._group))
                for child in self.others._children:
                    child.kill()
                os._exit(FAILED)
