"""One process at a time trains in a run's directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoloss.app.screen import say, shown
from autoloss.core.errors import BusyError
from autoloss.core.io.lock import lock
from autoloss.search import stop

CLAIM = "claim"


@contextmanager
def claimed(directory: Path, title: str, waits: bool) -> Iterator[None]:
    """Within it ``directory`` is this process's; one that is another's is waited for, or a :class:`BusyError`."""
    from pytorch_lightning.utilities import rank_zero_only

    if rank_zero_only.rank:  # type: ignore[attr-defined]
        # The process that started this one has claimed it for both.
        yield
        return
    said = False
    while True:
        with lock(directory / CLAIM) as mine:
            if mine:
                yield
                return
        if not waits:
            raise BusyError(
                f"A run must have its directory to itself, but another process trains in {shown(directory)}. "
                "Wait for it, or start a run of its own: leave ckpt=last out."
            )
        if not said:
            say(f"{title}: another process is at it, waiting")
        said = True
        stop.pause(0.5)


@contextmanager
def joined(directory: Path) -> Iterator[None]:
    """Within it nobody may empty ``directory``; others may join it."""
    with lock(directory / CLAIM, shared=True) as mine:
        if not mine:
            raise BusyError(
                f"A search must have a directory, but another process empties {shown(directory)}. Try again."
            )
        yield


@contextmanager
def emptied(directory: Path) -> Iterator[None]:
    """Within it nobody else searches in ``directory``."""
    with lock(directory / CLAIM) as mine:
        if not mine:
            raise BusyError(
                f"fresh=true removes what lies in the directory, but another process searches in {shown(directory)}. "
                "Wait for it, or give this search another name=."
            )
        yield
