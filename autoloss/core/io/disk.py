"""Explains in one sentence why a file cannot be written: a full disk, a read-only one, no permission."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from autoloss.core.errors import AutolossError, DiskError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_DIRECTORY = {errno.ENOTDIR, errno.EEXIST}
_ELSEWHERE = "by name=, or by hydra.run.dir= (a sweep: hydra.sweep.dir=)"


@contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Within it an error of the disk, also one behind another error, is raised as :class:`DiskError`.

    ``directory`` is where files are written, for errors that do not say it. A thread that writes (TensorBoard's) tells
    its error to the one that trains: it prints none of its own.
    """

    def silent(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is None or disk_error(found.exc_value, directory) is None:
            before(found)

    before, threading.excepthook = threading.excepthook, silent
    try:
        yield
    except Exception as error:
        found = disk_error(error, directory)
        if found is None or found is error:
            raise
        raise found from error
    finally:
        threading.excepthook = before


def disk_error(error: BaseException, directory: Path) -> DiskError | None:
    """What ``error`` means if the disk is behind it, with the place; ``None`` for any other error."""
    seen: list[BaseException] = []
    behind: BaseException | None = error
    while behind is not None and behind not in seen:
        if isinstance(behind, DiskError):
            return behind
        if isinstance(behind, OSError) and (sentence := _sentence(behind, directory)):
            return DiskError(sentence)
        if isinstance(behind, AutolossError):
            return None
        seen.append(behind)
        behind = behind.__cause__ or behind.__context__
    return None


def _sentence(error: OSError, directory: Path) -> str | None:
    place, why, number = str(error.filename or directory), error.strerror, error.errno
    if number in _FULL:
        return (
            f"The disk must have room for what a run writes, but that of {place!r} has none: {why}. "
            "Free some, and give the same command again."
        )
    if number == errno.ELOOP:
        return f"A file that is written must be no symbolic link, but {place!r} is one. Remove it."
    if error.filename is None:
        return None  # of a process or a connection, not of a file
    if number in _REFUSED:
        return (
            f"A command must be allowed to use its files, but {place!r} is refused: {why}. "
            f"Change its permissions, or choose another directory, {_ELSEWHERE}."
        )
    if number == errno.ENAMETOOLONG:
        return f"A path must be short enough for the file system, but {place!r} is not: {why}. Write a shorter name=."
    if number in _NO_DIRECTORY and _is_in_a_file(Path(place)):
        return f"A directory must not be a file, but a part of {place!r} is one: {why}. Choose another, {_ELSEWHERE}."
    return None


def _is_in_a_file(place: Path) -> bool:
    return any(part.exists() and not part.is_dir() for part in (place, *place.parents))
