"""Says what a directory holds, so that one command does not write over the results of another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from autoloss.core.errors import ConfigError, OccupiedError
from autoloss.core.io.files import read_json

RUN, SWEEP, SEARCH, COMPARE, DIAGNOSE, META = "run", "sweep", "search", "compare", "diagnose", "meta"
COMMAND = "command.json"  # the command line of a sweep, search, comparison, diagnosis or meta-learning
WORDS = {
    RUN: "a run",
    SWEEP: "a sweep",
    SEARCH: "a search",
    COMPARE: "a comparison",
    DIAGNOSE: "a diagnosis",
    META: "a learned rule",
}
_OVERWRITTEN = (".hydra", ".hydra/*.yaml", "multirun.yaml", "worker-*.log")
_VERBS = {"train": SWEEP, "search": SEARCH, "compare": COMPARE, "diagnose": DIAGNOSE, "meta": META}
# Files of each, in this order: a sweep by hydra/sweeper=autoloss has a study too, and an old directory no command.
_SIGNS = {
    "multirun.yaml": SWEEP,
    "study.log": SEARCH,
    "search.json": SEARCH,
    "diagnosis.json": DIAGNOSE,
    "rounds": META,
    "compare.json": COMPARE,
    "record.json": RUN,
    "config.json": RUN,
    "summary.json": RUN,
    "trajectory.csv": RUN,
}


def holds(directory: Path) -> str | None:
    """What ``directory`` holds, finished or not: a key of ``WORDS``, or ``None`` if it holds nothing of autoloss."""
    if not directory.is_dir():
        return None
    made = readable(directory / COMMAND)
    if isinstance(made, dict) and len(command := list(made.get("command", ()))) > 1 and command[1] in _VERBS:
        return _VERBS[command[1]]
    return next((kind for name, kind in _SIGNS.items() if (directory / name).exists()), None)


def check_free(directory: Path, kind: str) -> None:
    """Raise :class:`OccupiedError` if ``directory`` holds something else than ``kind``.

    A symbolic link in the place of a file that Hydra or a worker overwrites is a :class:`ConfigError`: its target
    would be overwritten, and whoever made the directory chose the target.
    """
    for name in _OVERWRITTEN:
        if link := next((one for one in directory.glob(name) if one.is_symlink()), None):
            raise ConfigError(
                f"A run must write files of its own, but {str(link)!r} is a symbolic link. Remove it, or choose "
                "another directory."
            )
    found = holds(directory)
    if found not in (None, kind):
        raise OccupiedError(
            f"{WORDS[kind].capitalize()} must have a directory of its own, but {str(directory)!r} holds "
            f"{WORDS[str(found)]}. Choose another directory, by name= or by hydra.run.dir= (a sweep: hydra.sweep.dir=)."
        )


def readable(path: Path) -> Any:
    """The value in the JSON file ``path``; ``None`` if there is no such file or it is damaged."""
    try:
        return read_json(path)
    except (OSError, ValueError):
        return None
