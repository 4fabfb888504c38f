"""The commands that repeat a run and show it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoloss.core.io.files import read_json, read_mapping
from autoloss.core.passwords import without_passwords
from autoloss.report.record import RunRecord


def commands(record: RunRecord) -> list[str]:
    """The commands to run it again, to open it in TensorBoard, and to replay other weightings on its record."""
    place = shlex.quote(shown(record.directory))
    lines = []
    command = record.summary.get("command")
    if command is None and "overrides" in record.summary:
        command = ["autoloss", "train", *record.summary["overrides"]]
    if command:
        lines.append(shlex.join(command))
    lines.append(board(place))
    if any(part.grad_norms for part in record.parts.values()):
        lines.append(f"autoloss replay {place} weighting=gradnorm,mgda,pcgrad")
    elif record.steps.size:
        lines.append(f"autoloss replay {place} weighting=uncertainty,dwa")
    return [without_passwords(line) for line in lines]


def again(directory: Path) -> list[str]:
    """The command that made ``directory``, and those that show it."""
    made = read_json(directory / "command.json")
    place = shlex.quote(shown(directory))
    lines = [without_passwords(shlex.join(made["command"]))] if made else []
    if (directory / "best.yaml").exists():
        lines.append(f"autoloss train load={place}/best.yaml")
    if (directory / "study.log").exists():
        # A sweep has no search.json, and neither had a search of an earlier version the name.
        name = (read_mapping(directory / "search.json") or {}).get("study", "autoloss")
        lines.append(f"optuna best-trial --storage {place}/study.log --study-name {shlex.quote(name)}")
    return [*lines, board(place)]


def board(place: str) -> str:
    """The command that shows ``place`` in TensorBoard, and where it shows the weights."""
    return f"tensorboard --logdir {place}  # then open http://localhost:6006/#custom_scalars"


def shown(path: Path) -> str:
    """``path`` as a person types it in the current directory."""
    path, here = path.resolve(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def leaves(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The plain values of ``config`` by dotted key."""
    rows: list[tuple[str, Any]] = []
    for key, value in config.items():
        nested = isinstance(value, Mapping) and value
        rows += leaves(value, f"{prefix}{key}.") if nested else [(f"{prefix}{key}", value)]
    return rows
