"""Distils the recorded weights of a run into a schedule, which needs only the progress of a training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.schedules.curves import Curves
from autoloss.core.terms import Terms
from autoloss.report.record import Array, PlayerRecord, RunRecord
from autoloss.report.write import run_record

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
    part, progress = _part(directory, player)
    terms = Terms(list(part.losses), part.given_base, part.groups)
    found = {name: _recorded(progress, part.weights.get(name)) for name in part.losses}
    grid = torch.linspace(0, 1, points + 1, dtype=torch.float64)
    curves = {}
    for unit, members in zip(terms.units, terms.members, strict=True):
        bare = next((of for i in members if (of := _bare(found[terms.names[i]], terms, i))), None)
        if bare is None:
            raise ConfigError(
                f"A run must have recorded a weight of every loss, but {unit!r} has none. "
                "Leave the loss out of the run, or record more often: record.every=1."
            )
        curves[unit] = tuple(_smooth(bare, grid, smooth).tolist())
    return Curves(tuple(grid.tolist()), curves)


def distill_numbers(directory: Path, points: int = 10, smooth: float = 0.05) -> dict[str, str]:
    """The learned numbers of losses of the run in ``directory`` as schedules, ``points(...)``, by name."""
    record = run_record(directory)
    grid = torch.linspace(0, 1, points + 1, dtype=torch.float64)
    found = {}
    for part in record.parts.values():
        for name, values in part.numbers.items():
            curve = _smooth(_recorded(record.columns["progress"], values), grid, smooth)
            found[name] = f"points({','.join(f'{value:.6g}' for value in curve.tolist())})"
    return found


def _part(directory: Path, player: str) -> tuple[PlayerRecord, Array]:
    """The record of ``player``, and the progress of its rows."""
    path = directory / "trajectory.csv"
    if not path.is_file():
        raise ConfigError(f"A run's directory must hold trajectory.csv, but there is no file {str(path)!r}.")
    record = run_record(directory)
    parts = record.parts if (directory / "record.json").exists() else _from_columns(record)
    part = parts.get(player)
    if part is None and parts:
        raise ConfigError(f"`player` must be one of {', '.join(map(repr, parts))}, but it is {player!r}.")
    good = part is not None and any(part.weights) and "progress" in record.columns
    require(good, "A trajectory must have weights", f"{str(path)!r} has none")
    assert part is not None
    return part, record.columns["progress"]


def _from_columns(record: RunRecord) -> dict[str, PlayerRecord]:
    """The players of a trajectory without ``record.json``: a slash comes after the name of a player."""
    tags = [tag.split("/")[1:] for tag in record.columns if tag.startswith("loss_weight/")]
    found: dict[str, list[str]] = {}
    for *player, name in tags:
        found.setdefault("/".join(player), []).append(name)
    base, groups = record.config.get("base") or {}, record.config.get("groups") or {}
    return {
        player: PlayerRecord(
            player,
            tuple(names),
            tuple(names),
            {group: tuple(of) for group, of in groups.items()},
            {name: weight for name, weight in base.items() if name in names},
            False,
            (),
            record.columns,
        )
        for player, names in found.items()
    }


def _recorded(progress: Array, weights: Array | None) -> Points:
    """The (progress, weight) of a loss, where it has one."""
    if weights is None:
        return []
    pairs = zip(progress.tolist(), weights.tolist(), strict=True)
    return [(x, y) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]


def _bare(recorded: Points, terms: Terms, loss: int) -> Points:
    """The recorded weights over the base weight of their time; none where that is 0."""
    pairs = [(x, y, terms.base_at(x)[loss]) for x, y in recorded]
    return [(x, y / base) for x, y, base in pairs if base > 0]


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
