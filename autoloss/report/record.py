"""Reads a run directory as arrays."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from autoloss._moved import moved_name
from autoloss.core.errors import ConfigError, DamagedError, first_line
from autoloss.core.io.csv_cells import unescaped
from autoloss.core.io.files import read_mapping
from autoloss.report.notebook import as_html, numbers
from autoloss.report.runs import Run, read_run

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure
else:
    __getattr__ = partial(moved_name, "report.record")

Array = NDArray[np.float64]
Table = dict[str, Array]
CLOCK = ("step", "epoch", "progress")


@dataclass(frozen=True)
class PlayerRecord:
    """The record of one player: arrays [T] by loss or unit, NaN where one was absent or not measured.

    ``base`` holds the base weights by loss, ``base_schedules`` those of losses and groups as they were given, where one
    is a schedule (empty otherwise). ``measures`` says if the weighting compares gradients, ``unbalanced`` which units
    keep their base weight.
    """

    player: str
    losses: tuple[str, ...]
    units: tuple[str, ...]
    groups: Mapping[str, tuple[str, ...]]
    base: Mapping[str, float]
    measures: bool
    unbalanced: tuple[str, ...]
    columns: Mapping[str, Array]
    base_schedules: Mapping[str, float | str] = field(default_factory=dict)

    @property
    def given_base(self) -> Mapping[str, float | str]:
        """The base weights that the player was given, numbers or schedules."""
        return self.base_schedules or self.base

    def of(self, kind: str, names: tuple[str, ...] | None = None) -> Table:
        """The columns of ``kind`` (``loss_weight``) by name, those that the record has."""
        tags = {name: self.tag(kind, name) for name in names or self.losses}
        return {name: self.columns[tag] for name, tag in tags.items() if tag in self.columns}

    def tag(self, kind: str, *names: str) -> str:
        """``kind/player/name``."""
        return "/".join(part for part in (kind, self.player, *names) if part)

    def title(self, name: str) -> str:
        """The name of a loss with its player's: ``generator/rec``; the name alone for a single player."""
        return f"{self.player}/{name}" if self.player else name

    @cached_property
    def weights(self) -> Table:
        """The effective weights, d(total)/d(loss)."""
        return self.of("loss_weight")

    @cached_property
    def raw(self) -> Table:
        """The losses."""
        return self.of("loss_raw")

    @cached_property
    def grad_norms(self) -> Table:
        """The norms of the units' gradients where they were measured."""
        return self.of("grad_norm", self.units)

    @cached_property
    def grad_shares(self) -> Table:
        """Each unit's share of the weighted gradient."""
        return self.of("grad_share", self.units)

    @cached_property
    def cosines(self) -> dict[tuple[str, str], Array]:
        """The cosines between the gradients of each pair of units."""
        tags = {(a, b): self.tag("grad_cosine", a, b) for a, b in combinations(self.units, 2)}
        return {pair: self.columns[tag] for pair, tag in tags.items() if tag in self.columns}

    @cached_property
    def numbers(self) -> Table:
        """The learned numbers of losses, by name (``digit.q``)."""
        before = self.tag("loss_number") + "/"
        return {tag.removeprefix(before): x for tag, x in self.columns.items() if tag.startswith(before)}

    @cached_property
    def total(self) -> Array:
        """The weighted sum."""
        return self.columns.get(self.tag("loss", "total"), np.empty(0))


@dataclass(frozen=True)
class RunRecord:
    """One run: the ``columns`` of ``trajectory.csv`` and the ``curves`` of ``metrics.csv`` by tag, and its players."""

    directory: Path
    run: Run
    columns: Table
    curves: Table
    parts: Mapping[str, PlayerRecord]
    config: Mapping[str, Any] = field(default_factory=dict)
    gaps: Sequence[tuple[int, int]] = ()  # first and last step of rows that could not be written

    @property
    def summary(self) -> Mapping[str, Any]:
        """``summary.json``; empty for a run that did not finish."""
        return self.run.summary or {}

    @property
    def steps(self) -> Array:
        """The recorded steps [T]."""
        return self.columns.get("step", np.empty(0))

    @property
    def metrics(self) -> dict[str, float]:
        """The problem's metrics on validation data at the end; from the last validation if it did not finish."""
        if "metrics" in self.summary:
            return {name: float(value) for name, value in self.summary["metrics"].items()}
        last = {tag.removeprefix("val/"): x for tag, x in self.curves.items() if tag.startswith("val/") and len(x)}
        return {name: float(x[-1]) for name, x in last.items()}

    @property
    def weights(self) -> Table:
        """The effective weights [T] by loss, ``player/loss`` where there are two players."""
        return self._by_title("loss_weight")

    @property
    def losses(self) -> Table:
        """The losses [T] by name."""
        return self._by_title("loss_raw")

    @property
    def grad_norms(self) -> Table:
        """The norms of gradients [T] by unit, where they were measured."""
        return {part.title(unit): x for part in self.parts.values() for unit, x in part.grad_norms.items()}

    @property
    def cosines(self) -> dict[tuple[str, str], Array]:
        """The cosines between gradients [T] by pair of units, where they were measured."""
        return {(p.title(a), p.title(b)): x for p in self.parts.values() for (a, b), x in p.cosines.items()}

    @property
    def final_weights(self) -> dict[str, float]:
        """The effective weights at the end by loss; those of the last recorded step if the run did not finish."""
        if "final_weights" in self.summary:
            return {name: float(value) for name, value in self.summary["final_weights"].items()}
        return {name: float(x[-1]) for name, x in self.weights.items() if len(x)}

    def __repr__(self) -> str:
        found = [f"weights {numbers(self.final_weights)}"] if self.final_weights else []
        found += [numbers(self.metrics)] if self.metrics else []
        return f"<Run {self.directory.name}, {self._how_long()}" + "".join(f"; {part}" for part in found) + ">"

    def _repr_html_(self) -> str:
        losses = self.losses
        rows = [
            {"loss": name, "weight at the end": weight, "loss at the end": _last(losses.get(name))}
            for name, weight in self.final_weights.items()
        ]
        metrics = [{"metric": name, "value": value} for name, value in self.metrics.items()]
        title = f"Run: {self.directory.name}"
        return as_html(title, [f"{self._how_long()}."], {"Losses": rows, "Metrics": metrics})

    def _how_long(self) -> str:
        weighting = self.summary.get("weighting")
        steps = f"{int(self.steps[-1]) + 1} steps" if len(self.steps) else "no step recorded"
        state = "" if self.run.finished else " (failed)" if self.run.error else " (not finished)"
        return (f"{weighting}, " if weighting else "") + steps + state

    def samples(self) -> bytes | None:
        """The picture of samples, a PNG file; ``None`` if the run has written none, or not all of it."""
        path = self.directory / "samples.png"
        found = path.read_bytes() if path.is_file() else b""
        return found if found.startswith(b"\x89PNG") else None

    def frame(self) -> pandas.DataFrame:
        """``trajectory.csv`` as a DataFrame by step; needs pandas."""
        try:
            import pandas
        except ImportError as error:
            raise ConfigError(
                "frame() needs pandas, but it is not installed. Run `pip install pandas`, or use the arrays."
            ) from error
        return pandas.DataFrame(self.columns).set_index("step")

    def plot(self) -> Figure:
        """The weights, losses and metrics by step, as a figure of matplotlib: the extra ``plot``.

        ``run.plot().savefig("weights.pdf")``. Raises :class:`ConfigError` where matplotlib is missing, or no step was
        recorded.
        """
        from autoloss.report.plot import plot

        metrics = {tag.removeprefix("val/"): x for tag, x in self.curves.items() if tag.startswith("val/")}
        panels = {
            "weight": (self.weights, self.steps),
            "loss": (self.losses, self.steps),
            "metric on validation data": (metrics, self.curves.get("step", np.empty(0))),
        }
        return plot(panels, list(self.weights))

    def _by_title(self, kind: str) -> Table:
        return {part.title(name): x for part in self.parts.values() for name, x in part.of(kind).items()}


def _last(x: Array | None) -> float:
    return math.nan if x is None or not len(x) else float(x[-1])


def read_record(directory: Path) -> RunRecord:
    """The run in ``directory``; a file that is missing (the run was killed) gives empty arrays."""
    run = read_run(directory)
    columns = read_columns(directory / "trajectory.csv")
    config = (run.summary or {}).get("config") or read_mapping(directory / "config.json") or {}
    curves = read_columns(directory / "metrics.csv")
    about = read_mapping(directory / "record.json")
    try:
        parts = _parts(about, columns, config)
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedError(
            f"record.json must say which losses there are, but that of {str(directory)!r} is damaged: "
            f"{first_line(error)}. Restore or remove it."
        ) from error
    gaps = [(int(first), int(last)) for first, last in (about or {}).get("gaps", ())]
    return RunRecord(directory, run, columns, curves, parts, config or (about or {}).get("config", {}), gaps)


def declared_unbalanced(directory: Path) -> tuple[str, ...]:
    """The units of the run in ``directory`` that were named unbalanced, in the configuration or by the training."""
    players = (read_mapping(directory / "record.json") or {}).get("players", {})
    return tuple(unit for player in players.values() for unit in player.get("unbalanced", ()))


def read_columns(path: Path) -> Table:
    """The columns of a CSV file of numbers; empty cells are NaN, and a line that was cut off is left out."""
    if not path.exists():
        return {}
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.reader(line for line in file if "\0" not in line)
        try:
            header = [unescaped(tag) for tag in next(reader, [])]
            rows = [found for row in reader if len(row) == len(header) and (found := _numbers(row)) is not None]
        except csv.Error as error:
            raise DamagedError(
                f"A table must be as autoloss wrote it, but {str(path)!r} is damaged in line {reader.line_num}: "
                f"{error}. Restore it, or remove that line."
            ) from error
    table = np.array(rows, dtype=float).reshape(len(rows), len(header))
    return {tag: table[:, i] for i, tag in enumerate(header)}


def _numbers(cells: list[str]) -> list[float] | None:
    try:
        numbers = [float(cell) if cell else math.nan for cell in cells]
    except ValueError:
        return None
    return numbers if numbers and numbers[0] == numbers[0] else None


def _parts(about: Any, columns: Mapping[str, Array], config: Mapping[str, Any]) -> dict[str, PlayerRecord]:
    if about is None:
        losses = tuple(tag.removeprefix("loss_weight/") for tag in columns if tag.startswith("loss_weight/"))
        units = tuple(tag.removeprefix("grad_norm/") for tag in columns if tag.startswith("grad_norm/"))
        return {"": PlayerRecord("", losses, units or losses, {}, {}, bool(units), (), columns)} if losses else {}
    # 0.1.0 did not say it; losses that are never balanced are then those of the configuration.
    known = {*(config.get("unbalanced") or ()), *(config.get("penalties") or ())}
    return {
        player: PlayerRecord(
            player,
            tuple(of["losses"]),
            tuple(of["units"]),
            {group: tuple(names) for group, names in of["groups"].items()},
            of["base"],
            bool(of["measures"]),
            tuple(of.get("unbalanced", [unit for unit in of["units"] if unit in known])),
            columns,
            of.get("base_schedules", {}),
        )
        for player, of in about["players"].items()
    }
