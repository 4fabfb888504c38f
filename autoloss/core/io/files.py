"""Atomic writes: a reader finds a complete file or none."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from autoloss.core.errors import DamagedError

# The file in a run's directory from which other runs load what a weighting learned.
EXPORT = "weighting.pt"
# The file in a run's or search's directory that holds the trained model.
MODEL = Path("checkpoints/model.pt")
# The directory in a search's directory of the run that trains the choice once more.
KEPT = "kept"


def refuse_link(path: str, flags: int) -> int:
    """An opener for ``open``: a symbolic link that lies where a file is written is an error, and not followed."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0), 0o666)


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
        fresh.unlink(missing_ok=True)
        with open(fresh, mode, opener=refuse_link, **options) as file:
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
    except (ValueError, RecursionError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise DamagedError(
            f"A JSON file must be as autoloss wrote it, but {str(path)!r} is damaged: {what}. Restore or remove it."
        ) from error


def read_mapping(path: Path) -> dict[str, Any] | None:
    """The mapping in the JSON file ``path``, or ``None`` if there is no such file."""
    found = read_json(path)
    if found is None or isinstance(found, dict):
        return found
    raise DamagedError(
        f"A JSON file must be as autoloss wrote it, but {str(path)!r} is damaged: it holds no mapping. Restore or "
        "remove it."
    )
