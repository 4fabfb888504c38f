"""Directories of runs: where a new one goes, and which one holds a checkpoint or a finished run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoloss.app.current_config import training_config
from autoloss.core.errors import ConfigError
from autoloss.core.io.files import read_json
from autoloss.report.runs import FINISHED

OUTPUTS = Path("outputs")
CHECKPOINT = Path("checkpoints/last.ckpt")
TRAJECTORY = "trajectory.csv"


def numbered(parent: Path) -> Path:
    """A new directory ``001``, ``002``, ... under ``parent``; it is created here, so no other process gets it."""
    parent.mkdir(parents=True, exist_ok=True)
    number = max((int(p.name) for p in parent.iterdir() if p.name.isdigit()), default=0)
    while True:
        number += 1
        try:
            (parent / f"{number:03d}").mkdir()
        except FileExistsError:
            continue
        return parent / f"{number:03d}"


def newest(parent: Path) -> Path:
    """The newest numbered directory under ``parent`` that has a checkpoint."""
    numbers = (p for p in (parent.iterdir() if parent.is_dir() else ()) if p.name.isdigit())
    runs = sorted((p for p in numbers if (p / CHECKPOINT).exists()), key=lambda p: int(p.name))
    if not runs:
        raise ConfigError(
            f"ckpt=last needs an earlier run in {parent}, but there is none. Leave ckpt out to start one."
        )
    return runs[-1]


def checkpoint_of(place: str) -> Path:
    """The checkpoint that ``place`` means: a file, or the last one of a run's directory or of its newest run."""
    path = Path(place)
    if not path.is_dir():
        return path
    has_none = not (path / CHECKPOINT).exists() and any((one / CHECKPOINT).exists() for one in path.glob("[0-9]*"))
    return (newest(path) if has_none else path) / CHECKPOINT


def finished(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run of the same configuration in ``directory``, if it holds one."""
    summary = read_json(directory / "summary.json")
    ended = summary is not None and summary.get("state", FINISHED) == FINISHED
    same = ended and training_config(summary["config"]) == training_config(config)
    return summary if same else None
