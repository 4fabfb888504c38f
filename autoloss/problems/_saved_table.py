"""What a prediction needs of a table, as plain values: how inputs are encoded, and the targets' classes and units."""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from autoloss.core.errors import ConfigError, require
from autoloss.core.problem import Branch
from autoloss.problems._column import Column, center_and_scale
from autoloss.problems._inputs import Categorical, InputColumns
from autoloss.problems._reading import Reading
from autoloss.problems._sheet import read_sheet, sheet_of
from autoloss.problems._target import Target

PROBABILITY = "_probability"


@dataclass(frozen=True, slots=True)
class SavedInput:
    """An input column: with ``categories``, or numbers with their ``center`` and ``scale``.

    ``decimal``, ``thousands`` and ``order`` say how its cells are written.
    """

    name: str
    categories: Sequence[str] | None = None
    center: float = 0.0
    scale: float = 1.0
    indicated: bool = False
    decimal: str = "."
    thousands: bool = False
    order: str = ""

    @property
    def reading(self) -> Reading:
        """How its cells are written."""
        return Reading(self.decimal, self.thousands, self.order)

    @property
    def width(self) -> int:
        """How many inputs of the network it is."""
        return 1 + self.indicated if self.categories is None else len(self.categories)

    def encoded(self, column: Column) -> Tensor:
        """The inputs [N, width] of a new column; a category that is not among ``categories`` is all zeros."""
        if self.categories is not None:
            index = {name: i for i, name in enumerate(self.categories)}
            codes = torch.tensor(
                [index.get(str(cell), len(index)) if cell is not None else -1 for cell in column.cells]
            )
            return (codes.unsqueeze(1) == torch.arange(len(index))).float()
        numbers = column.numbers()
        standard = ((numbers - self.center) / self.scale).nan_to_num()
        parts = [standard, numbers.isnan()] if self.indicated else [standard]
        return torch.stack([part.float() for part in parts], dim=1)

    def unseen(self, column: Column) -> list[str]:
        """The different cells that are no category of it."""
        if self.categories is None:
            return []
        return [cell for cell in column.distinct if cell not in self.categories]


@dataclass(frozen=True, slots=True)
class SavedTarget:
    """A target column: its ``classes``, or the ``center`` and ``scale`` of its numbers."""

    name: str
    kind: str
    size: int
    classes: Sequence[str] = ()
    center: float = 0.0
    scale: float = 1.0

    def columns(self, prediction: Tensor) -> dict[str, list[Any]]:
        """The predicted cells, from the head's output [N, size]; for classes also how probable the model takes them."""
        if self.kind == "regression":
            return {self.name: (prediction.double().squeeze(1) * self.scale + self.center).tolist()}
        if self.kind == "binary":
            one = prediction.double().squeeze(1).sigmoid()
            probabilities = torch.stack([1 - one, one], dim=1)
        else:
            probabilities = prediction.double().softmax(1)
        highest, index = probabilities.max(1)
        return {
            self.name: [self.classes[i] for i in index.tolist()],
            f"{self.name}{PROBABILITY}": highest.tolist(),
        }

    @property
    def plain(self) -> Target:
        """The target without labels."""
        return Target(
            self.name, self.kind, torch.empty(0), torch.empty(0, dtype=torch.bool), self.size, tuple(self.classes)
        )


@dataclass(frozen=True, slots=True)
class SavedTable:
    """All inputs and targets, the widths of the network, and the cells that stand for no value."""

    inputs: Sequence[SavedInput]
    targets: Sequence[SavedTarget]
    hidden: Sequence[int]
    missing: Sequence[str]

    @property
    def width(self) -> int:
        """How many inputs the network has."""
        return sum(one.width for one in self.inputs)

    def plain(self) -> dict[str, Any]:
        """It as plain values, for a file."""
        return {
            "inputs": [asdict(one) for one in self.inputs],
            "targets": [asdict(one) for one in self.targets],
            "hidden": list(self.hidden),
            "missing": list(self.missing),
        }

    @staticmethod
    def read(plain: Mapping[str, Any]) -> SavedTable:
        """The inverse of :meth:`plain`."""
        try:
            return SavedTable(
                [SavedInput(**one) for one in plain["inputs"]],
                [SavedTarget(**one) for one in plain["targets"]],
                tuple(plain["hidden"]),
                tuple(plain["missing"]),
            )
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"A saved table must hold what autoloss writes, but it has other keys: {error}. Train the model again."
            ) from error

    def predict(self, network: nn.Module, branch: Branch, samples: Any) -> dict[str, list[Any]]:
        """The predicted columns for ``samples``: a CSV file's path, or the cells of each column by name.

        A category that training did not see counts as none of those that it saw, with a warning.
        """
        columns = self._columns(samples)
        for one in self.inputs:
            if unseen := one.unseen(columns[one.name]):
                few = ", ".join(map(repr, unseen[:5])) + (" and others" if len(unseen) > 5 else "")
                what = f"Column {one.name!r} has categories that the training data lack; they count as none: {few}."
                warnings.warn(what, stacklevel=2)
        inputs = torch.cat([one.encoded(columns[one.name]) for one in self.inputs if one.width], dim=1)
        device = next(network.parameters()).device
        _, predictions = network(inputs.to(device), branch)
        found: dict[str, list[Any]] = {}
        for target, prediction in zip(self.targets, predictions, strict=True):
            found |= target.columns(prediction.cpu())
        return found

    def _columns(self, samples: Any) -> dict[str, Column]:
        if isinstance(samples, Mapping):
            cells: Mapping[str, Sequence[Any]] = {str(name): list(of) for name, of in samples.items()}
            rows = len(next(iter(cells.values()), []))
            lines: Sequence[int] = range(1, rows + 1)
            where = "the samples"
        else:
            sheet = read_sheet(str(samples)) if isinstance(samples, (str, Path)) else sheet_of(samples, "the samples")
            cells, lines = sheet.columns, sheet.lines
            where = repr(str(samples)) if isinstance(samples, (str, Path)) else "the samples"
        lacking = [repr(one.name) for one in self.inputs if one.name not in cells]
        rule = f"A prediction needs the {len(self.inputs)} columns that the model was trained on"
        require(not lacking, rule, f"there is no column {', '.join(lacking)} in {where}")
        lengths = {len(cells[one.name]) for one in self.inputs}
        require(len(lengths) == 1, "Every column must have as many cells", f"those of {where} have {sorted(lengths)}")
        missing = set(self.missing)

        def column(one: SavedInput) -> Column:
            name, reading = one.name, one.reading
            # A number that is not equal to itself is NaN, as data frames have it for a missing cell.
            texts = ["" if cell is None or cell != cell else str(cell).strip() for cell in cells[name]]
            return Column(name, [None if text.lower() in missing else reading.cell(text) for text in texts], lines)

        return {one.name: column(one) for one in self.inputs}


def saved_table(
    inputs: InputColumns,
    targets: Sequence[Target],
    fit: Tensor,
    hidden: Sequence[int],
    missing: Collection[str],
    readings: Mapping[str, Reading],
) -> SavedTable:
    """What a prediction needs of a table whose numbers are standardised as those of the rows ``fit``."""
    found = []
    for part in inputs.parts:
        reading = readings[part.name]
        written = (reading.decimal, reading.thousands, reading.order)
        if isinstance(part, Categorical):
            found.append(SavedInput(part.name, list(part.categories), 0.0, 1.0, False, *written))
        else:
            center, scale = _plain(part.numbers[fit])
            found.append(SavedInput(part.name, None, center, scale, part.indicated, *written))
    told = []
    for t in targets:
        center, scale = _plain(t.labels[fit]) if t.kind == "regression" else (0.0, 1.0)
        told.append(SavedTarget(t.name, t.kind, t.size, list(t.classes), center, scale))
    return SavedTable(found, told, tuple(hidden), sorted(missing))


def _plain(numbers: Tensor) -> tuple[float, float]:
    center, scale = (float(one) for one in center_and_scale(numbers))
    # A column without a number is 0 in every row.
    return (0.0, math.inf) if math.isnan(center) else (center, scale)
