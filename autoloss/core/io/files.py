"""Atomic writes: a reader finds a complete file or none."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

# The file in a run's directory from which other runs load what a weighting learned.
EXPORT = "weighting.pt"


@contextmanager
def whole(path: Path, mode: str = "w", alone: bool = False, **options: Any) -> Iterator[IO[Any]]:
    """A file to write, which replaces ``path`` in one step when it is complete; after an error ``path`` is unchanged.

    The new file is in the directory of ``path``, since a rename is one step only within a file system. With ``alone``,
    where no other process or thread writes ``path``, it overwrites what a killed process left; otherwise each thread
    has its own file.
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
    """Write ``text`` to ``path`` in one step: a reader finds the old file or the new one."""
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
