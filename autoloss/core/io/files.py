"""Files that are whole or not there."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# What a weighting leaves to other runs, in a run's directory.
EXPORT = "weighting.pt"


@contextmanager
def whole(path: Path, mode: str = "w", alone: bool = False, **options: Any) -> Iterator[IO[Any]]:
    """A file to write that takes the place of ``path`` in one step when it is complete; not at all after an error.

    It is written beside ``path``: only within one file system is a renaming a single step. Where nobody else writes it
    (``alone``) what a killed process left is written over; else each thread has a file of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{'new' if alone else f'{os.getpid()}.{threading.get_ident()}'}")
    try:
        with fresh.open(mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step: whoever reads sees the old file or the new one."""
    with whole(path, encoding="utf-8") as file:
        file.write(text)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON in one step."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The value in the JSON file ``path``, or ``None`` if there is no such file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
