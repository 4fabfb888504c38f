"""Files that are whole or not there."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

# What a weighting leaves to other runs, in a run's directory.
EXPORT = "weighting.pt"


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` in one step: whoever reads sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    with fresh.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as JSON in one step."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The value in the JSON file ``path``, or ``None`` if there is no such file."""
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return None
