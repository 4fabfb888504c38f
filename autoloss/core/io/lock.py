"""Work that one process at a time may do."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import IO

from autoloss.core.errors import ConfigError
from autoloss.core.io.files import refuse_link

_held: set[IO[str]] = set()


@contextmanager
def lock(path: Path, shared: bool = False) -> Iterator[bool]:
    """A context that yields ``True`` to the one process that holds ``path``; the file is free when that process dies.

    With ``shared``, several processes hold it together, and it is ``False`` where one process holds it alone. Always
    ``True`` on a system without file locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _opened(path) as file:
        if not take(file.fileno(), shared):
            yield False
            return
        _held.add(file)
        try:
            yield True
        finally:
            _held.discard(file)
            free(file.fileno())


def _opened(path: Path) -> IO[str]:
    """``path`` open to be locked; what it holds is not changed, since another person may have made it."""
    try:
        return open(path, "a", opener=refuse_link)
    except OSError as error:
        if path.is_symlink():
            raise ConfigError(
                f"A lock must be a file of its own, but {str(path)!r} is a symbolic link. Remove it."
            ) from error
        raise


def take(file: int, shared: bool = False, wait: bool = False) -> bool:
    """Lock the open ``file`` until it is closed; ``False`` if another process holds it and ``wait`` is false."""
    if (fcntl := _fcntl()) is None:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def free(file: int) -> None:
    """Free the lock on the open ``file``; closing it would leave the lock with a process that has a copy of it."""
    if (fcntl := _fcntl()) is not None:
        fcntl.flock(file, fcntl.LOCK_UN)


@cache
def _fcntl() -> ModuleType | None:
    """POSIX's file locks; ``None``, with one warning, on a system without them."""
    try:
        import fcntl
    except ImportError:
        warnings.warn(
            "File locks need POSIX (the module fcntl), but this system has none. "
            "Do not let two processes write into one directory.",
            stacklevel=4,
        )
        return None
    return fcntl


def _free_in_child() -> None:
    # A process that loads data can outlive its killed parent by seconds, and would hold the lock for so long.
    for file in _held:
        file.close()
    _held.clear()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_free_in_child)
