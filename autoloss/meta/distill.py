"""Distils the recorded weights of a run into a schedule, which needs only the progress of a training."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.io.files import read_json
from autoloss.core.schedules.curves import Curves
from autoloss.core.terms import Terms

Points = list[tuple[float, float]]


def distill(directory: Path, points: int = 50, smooth: float = 0.05, player: str = "") -> Curves:
    """The weights of the run in ``directory`` as curves over progress.

    At each of ``points + 1`` places a straight line is fitted to the recorded points around it, weighted by a Gaussian
    of width ``smooth`` (a share of training; 0 joins the recorded points). The weights are divided by the base weights,
    since the run that replays the schedule has its own; a group has one curve. ``player`` names the player whose
    weights are taken, where there are several.
    """
    require(points >= 1, "`points` must be at least 1", f"points={points}")
    require(0 <= smooth <= 1, "`smooth` must lie in [0, 1]", f"smooth={smooth}")
    found = _weights(directory / "trajectory.csv", player)
    config: Mapping[str, Any] = (read_json(directory / "summary.json") or {}).get("config", {})
    terms = Terms(list(found), _known(config.get("base"), found), config.get("groups"))
    grid = torch.linspace(0, 1, points + 1, dtype=torch.float64)
    curves = {}
    for unit, members in zip(terms.units, terms.members, strict=True):
        member = next((i for i in members if terms.base[i] > 0 and found[terms.names[i]]), None)
        if member is None:
            raise ConfigError(
                f"A run must have recorded a weight of every loss, but {unit!r} has none. "
                "Leave the loss out of the run, or record more often: record.every=1."
            )
        curve = _smooth(found[terms.names[member]], grid, smooth) / terms.base[member]
        curves[unit] = tuple(curve.tolist())
    return Curves(tuple(grid.tolist()), curves)


def _weights(path: Path, player: str) -> dict[str, Points]:
    """The recorded (progress, weight) of each loss of ``player``."""
    if not path.is_file():
        raise ConfigError(f"A run's directory must hold trajectory.csv, but there is no file {str(path)!r}.")
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows, tags = list(reader), [tag for tag in reader.fieldnames or () if tag.startswith("loss_weight/")]
    players = dict.fromkeys(tag.split("/")[1] if tag.count("/") > 1 else "" for tag in tags)
    require(bool(tags), "A trajectory must have weights", f"{str(path)!r} has none")
    if player not in players:
        raise ConfigError(f"`player` must be one of {', '.join(map(repr, players))}, but it is {player!r}.")
    own = [tag for tag in tags if (tag.split("/")[1] if tag.count("/") > 1 else "") == player]
    return {
        tag.rpartition("/")[2]: [
            (float(row["progress"]), float(row[tag])) for row in rows if row.get(tag) and math.isfinite(float(row[tag]))
        ]
        for tag in own
    }


def _known(base: Mapping[str, float] | None, names: Mapping[str, Any]) -> dict[str, float]:
    return {name: weight for name, weight in (base or {}).items() if name in names}


def _smooth(recorded: Sequence[tuple[float, float]], grid: Tensor, width: float) -> Tensor:
    x, y = torch.tensor(recorded, dtype=torch.float64).unbind(1)
    # A Gaussian much narrower than the distance between two records would give all of them a weight of 0.
    gap = (x[1:] - x[:-1]).max() if len(x) > 1 else torch.ones(())
    width = max(width, float(gap) / 2, 1e-6)
    kernel = torch.exp(-0.5 * ((x - grid[:, None]) / width) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True).clamp(min=1e-300)
    middle, height = (kernel * x).sum(1), (kernel * y).sum(1)
    spread = (kernel * (x - middle[:, None]) ** 2).sum(1)
    along = (kernel * (x - middle[:, None]) * (y - height[:, None])).sum(1)
    slope = torch.where(spread > 1e-12, along / spread.clamp(min=1e-12), 0.0)
    return (height + slope * (grid - middle)).clamp(float(y.min()), float(y.max()))
