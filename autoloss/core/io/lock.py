"""Work that one process at a time may do."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_held: set[IO[str]] = set()


@contextmanager
def lock(path: Path, shared: bool = False) -> Iterator[bool]:
    """``True`` within it for the one process that holds ``path``; a process that dies lets go.

    ``shared`` holds it together with others that share it, and is ``False`` where one process holds it alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            _held.add(file)
            try:
                yield True
            finally:
                _held.discard(file)
                fcntl.flock(file, fcntl.LOCK_UN)


def _let_go() -> None:
    # A process that loads data outlives its killed parent by seconds, and would hold the lock for so long.
    for file in _held:
        file.close()
    _held.clear()


os.register_at_fork(after_in_child=_let_go)
