"""Output that nobody reads any more, or that has no room, ends no command: `autoloss train ... | head -1`."""

from __future__ import annotations

import io
import os
import sys
from typing import Any, TextIO


class _Stream(io.FileIO):
    """The file of a standard stream; after its first error everything goes to the null device."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data) or 0
        except BlockingIOError:
            raise
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())
            os.close(null)
            return memoryview(data).nbytes


def outlive_readers() -> None:
    """Let standard output and standard error go on silently when they cannot be written: a closed pipe, a full disk."""
    sys.stdout, sys.stderr = (_outliving(stream) for stream in (sys.stdout, sys.stderr))


def _outliving(stream: TextIO) -> TextIO:
    try:
        number = stream.fileno()
    except (AttributeError, OSError, ValueError):
        return stream  # None, or not a file
    stream.flush()
    lines = stream.isatty() or stream is sys.stderr
    raw = _Stream(number, "w", closefd=False)
    options = {"encoding": stream.encoding, "errors": stream.errors}
    return io.TextIOWrapper(io.BufferedWriter(raw), line_buffering=lines, **options)  # type: ignore[arg-type]
