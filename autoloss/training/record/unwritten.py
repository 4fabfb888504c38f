"""What could not be written of a record: the training goes on without it."""

from __future__ import annotations

import errno
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class RecordWarning(UserWarning):
    """A part of a record could not be written."""


class Unwritten:
    """Takes the errors of the file system in a record's ``directory``, and warns of the first one.

    ``gaps`` are the first and last step of each block of rows that is missing.
    """

    def __init__(self, directory: Path, gaps: list[list[int]] | None = None) -> None:
        self.directory, self.gaps = directory, gaps or []
        self._warned = False

    @contextmanager
    def taken(self, steps: list[int] | None = None) -> Iterator[None]:
        """Within it an :class:`OSError` is taken; the rows of ``steps`` are then missing."""
        try:
            yield
        except OSError as error:
            self.take(error)
            if steps:
                self._miss(steps[0], steps[-1])

    def take(self, error: OSError) -> None:
        """Warn of ``error``, if it is the first one."""
        if self._warned:
            return
        self._warned = True
        warnings.warn(
            f"The record in {str(self.directory)!r} must be written, but it cannot be: {error}. The training goes on; "
            "rows are missing until there is room again, and the page of the run says which.",
            RecordWarning,
            stacklevel=3,
        )

    def _miss(self, first: int, last: int) -> None:
        self.gaps.append([first, last])


class SteadyFile:
    """The open file of TensorBoard's writer: an error of the disk does not end its thread, or tear the file."""

    def __init__(self, file: Any, path: str, failed: Callable[[OSError], None]) -> None:
        self._file, self._path, self._failed = file, path, failed

    def write(self, data: bytes) -> None:
        """Write an event, whole or not at all."""
        size = 0
        try:
            with suppress(FileNotFoundError):
                size = os.path.getsize(self._path)
            self._file.write(data)
        except OSError as error:
            with suppress(OSError):
                os.truncate(self._path, size)
            self._failed(error)

    def flush(self) -> None:
        """Flush the file."""
        try:
            self._file.flush()
        except OSError as error:
            self._failed(error)

    def close(self) -> None:
        """Close the file."""
        try:
            self._file.close()
        except OSError as error:
            self._failed(error)

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return bool(self._file.closed)


def steady(writer: SummaryWriter, failed: Callable[[OSError], None]) -> None:
    """Let ``writer`` go on after an error of the disk, which ``failed`` is told."""
    events = writer._get_file_writer().event_writer
    records: Any = getattr(getattr(events, "_async_writer", None), "_writer", None)
    # Another version of TensorBoard may have other parts; then its errors are what they were.
    if hasattr(records, "_writer") and not isinstance(records._writer, SteadyFile):
        records._writer = SteadyFile(records._writer, events._file_name, failed)
