"""Locks of run directories: one process at a time trains in one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoloss.app.screen import say, shown
from autoloss.core.errors import BusyError
from autoloss.core.io.lock import lock
from autoloss.search import stop

LOCK_FILE = "claim"  # the name of 0.1.0, whose processes must respect our locks


@contextmanager
def run_lock(directory: Path, title: str, waits: bool) -> Iterator[None]:
    """Within it this process alone holds ``directory``; ``title`` is the run's name in what is printed.

    If another process holds it, this one ``waits`` for it or raises :class:`BusyError`.
    """
    said = False
    while True:
        with lock(directory / LOCK_FILE) as mine:
            if mine:
                yield
                return
        if not waits:
            raise BusyError(
                f"A run must have its directory to itself, but another process trains in {shown(directory)}. "
                "Wait until it ends, or leave ckpt=last out to start a new run."
            )
        if not said:
            say(f"{title}: waiting for another process that trains this run")
        said = True
        stop.pause(0.5)


@contextmanager
def shared_lock(directory: Path) -> Iterator[None]:
    """Within it no process may empty ``directory``; others may share the lock. Raises :class:`BusyError`."""
    with lock(directory / LOCK_FILE, shared=True) as mine:
        if not mine:
            raise BusyError(
                f"A search must have a directory, but another process is emptying {shown(directory)}. Try again."
            )
        yield


@contextmanager
def exclusive_lock(directory: Path) -> Iterator[None]:
    """Within it no other process searches in ``directory``. Raises :class:`BusyError`."""
    with lock(directory / LOCK_FILE) as mine:
        if not mine:
            raise BusyError(
                f"fresh=true empties a directory that no other search may use, but another process searches in "
                f"{shown(directory)}. Wait until it ends, or give this search another name=."
            )
        yield
