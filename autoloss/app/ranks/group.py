"""What the processes that train together tell each other, through a store of torch that the first one leads."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from autoloss.app.ranks.place import RankPlace
from autoloss.core.errors import RankError
from autoloss.search import stop

START = 600.0  # seconds in which all processes must have started
_POLL = 0.05


@dataclass(frozen=True, slots=True)
class Failure:
    """What ended the part of process ``rank`` in a task; ``traceback`` is empty if the sentence says all."""

    rank: int
    sentence: str
    traceback: str = ""
    at: float = 0.0


class Group:
    """The store of the processes at ``place``: tasks, numbered from 0, and what became of them.

    The process of rank 0 publishes each task. The others take it and report; the last task says ``end``. No call waits
    for the answer of another process longer than it says, so that a process which has died stops nobody.
    """

    def __init__(self, place: RankPlace) -> None:
        self.place, self.number, self.meeting = place, -1, (place.address, 0)
        hosts = place.rank == 0 and not place.hosted
        try:
            store = store_at(place.address, place.port, hosts)
        except (RuntimeError, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise RankError(
                f"All {place.size} processes must reach {place.address}, port {place.port}, but process {place.rank} "
                f"does not: {said}. Set MASTER_ADDR and MASTER_PORT to an address of the first process."
            ) from error
        self.port = store.port
        self._store = PrefixStore(f"autoloss/{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)

    @property
    def others(self) -> range:
        """The ranks of the other processes, for the one that leads."""
        return range(1, self.place.size)

    def publish(self, task: Mapping[str, Any]) -> None:
        """Give the other processes their next task."""
        self.number += 1
        self._store.set(f"task/{self.number}", json.dumps(dict(task)))

    def next(self) -> dict[str, Any]:
        """Wait for the next task, and take it."""
        self.number += 1
        while not self._has(f"task/{self.number}"):
            stop.pause(_POLL)
        self._store.set(f"taken/{self.number}/{self.place.rank}", "")
        return dict(json.loads(self._store.get(f"task/{self.number}")))

    def has_taken(self, rank: int) -> bool:
        """Whether process ``rank`` has taken the present task."""
        return self._has(f"taken/{self.number}/{rank}")

    def report(self, failure: Failure | None) -> None:
        """Say that this process is done with its task, and what went wrong."""
        found = None if failure is None else [failure.rank, failure.sentence, failure.traceback, time.time()]
        self._store.set(f"done/{self.number}/{self.place.rank}", json.dumps(found))

    def is_done(self, rank: int) -> bool:
        """Whether process ``rank`` is done with the present task."""
        return self._has(f"done/{self.number}/{rank}")

    def failures(self) -> list[Failure]:
        """What the others reported as failed in the present task, the first failure first."""
        done = (f"done/{self.number}/{rank}" for rank in self.others)
        found = [json.loads(self._store.get(key)) for key in done if self._has(key)]
        return sorted((Failure(*one) for one in found if one is not None), key=lambda failure: failure.at)

    def give_up(self) -> None:
        """Tell the others that the present task ends before its time."""
        self._store.set(f"over/{self.number}", "")

    def is_over(self) -> bool:
        """Whether the leader has given up the present task."""
        return self._has(f"over/{self.number}")

    def _has(self, key: str) -> bool:
        return bool(self._store.check([key]))


_joined: list[Group] = []


def join(place: RankPlace) -> Group:
    """Make this process a member of the group at ``place``."""
    _joined[:] = [Group(place)]
    return _joined[0]


def joined() -> Group | None:
    """The group that a launcher, or another process, made this process a member of."""
    return _joined[0] if _joined else None


def leave() -> None:
    """Forget the group."""
    _joined.clear()


def store_at(address: str, port: int, hosts: bool) -> TCPStore:
    """The store at ``address``; the process that ``hosts`` it holds it, on a free port if ``port`` is 0."""
    # Shared with the process group that meets at the same port later.
    return TCPStore(
        address,
        port,
        is_master=hosts,
        timeout=timedelta(seconds=START),
        wait_for_workers=False,
        multi_tenant=True,
    )
