"""What a table holds, and what its reader should know before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor

from autoloss.core.io.text_table import aligned
from autoloss.problems._column import FEW, Column
from autoloss.problems._inputs import Categorical, Numeric
from autoloss.problems._reading import EPOCH, Reading
from autoloss.problems._sheet import Sheet
from autoloss.problems._target import Target

MANY = 50  # inputs of one column that a reader should know of
SHOWN = 3  # categories that are named
IDENTIFIER = re.compile(r"(?:^|[\W_])(?:id|ID|Id|key|nr|no)$|[a-z]I[dD]$")  # names such as id, user_id, orderId


@dataclass(frozen=True, slots=True)
class DataCard:
    """Everything that the card of a table tells; ``splits`` are its rows, and ``ignored`` are names with a reason."""

    sheet: Sheet
    splits: Mapping[str, Tensor]
    inputs: Sequence[tuple[Column, Numeric | Categorical]]
    ignored: Mapping[str, str]
    targets: Sequence[tuple[Column, Target]]
    readings: Mapping[str, Reading]
    kinds: Mapping[str, str]

    def text(self) -> str:
        """The card: the file, a line for each column, and what may be wrong."""
        used = sum(len(rows) for rows in self.splits.values())
        sizes = ", ".join(f"{len(rows)} {split}" for split, rows in self.splits.items())
        total = len(self.sheet.lines)
        unlabelled = f", {total - used} without any label left out" if total > used else ""
        about = f" ({self.sheet.about})" if self.sheet.about else ""
        width = sum(part.width for _, part in self.inputs)
        inputs = "1 input of the network" if width == 1 else f"{width} inputs of the network"
        rows = [
            *(["target", t.name, t.kind, self._target(t)] for _, t in self.targets),
            *(["input", c.name, *self._input(c, part)] for c, part in self.inputs),
            *(["ignored", name, "", reason] for name, reason in self.ignored.items()),
        ]
        head = f"data: {self.sheet.source}{about}: {total} rows ({sizes}{unlabelled}), {inputs}"
        return "\n".join([head, aligned(rows, left=(0, 1, 2, 3)), *(f"note: {hint}" for hint in self.hints())])

    def hints(self) -> list[str]:
        """What may be wrong, and the key that mends it: a sentence each."""
        found = [
            f"{name!r}: {reading.doubt}."
            for name, reading in self.readings.items()
            if reading.doubt and (name not in self.ignored or "problem.decimal" in reading.doubt)
        ]
        return [*found, *self._target_hints(), *self._input_hints()]

    def _target(self, t: Target) -> str:
        count = len(t.present)
        gone = count - int(t.present.sum())
        answer, error = t.constant(self.splits["train"], self.splits["val"])
        always = f"always answering {'the mean, ' if t.kind == 'regression' else ''}{answer}: {t.metric} {error:.4g}"
        classes = f"{len(t.classes)} classes: {_some(t.classes)}; " if t.classes else ""
        return f"{classes}{f'{gone} of {count} labels missing; ' if gone else ''}{always}"

    def _input(self, column: Column, part: Numeric | Categorical) -> tuple[str, str]:
        gone = int((~column.present).sum())
        missing = f"; {gone} of {len(column.cells)} missing" if gone else ""
        if not column.distinct:
            return "empty", "no value in any row, and no input"
        if len(column.distinct) == 1:
            return "constant", f"{_some(list(column.distinct))} in every row that has a value{missing}"
        if isinstance(part, Categorical):
            seen = sorted(column.distinct)
            return "category", f"{len(seen)} levels: {_some(seen)}{missing}"
        numbers = part.numbers[~part.numbers.isnan()]
        low, high = float(numbers.min()), float(numbers.max())
        if self.readings[column.name].order:
            return "date", f"{_day(low)} to {_day(high)}, as a number of days{missing}"
        return "number", f"{low:.6g} to {high:.6g}{missing}"

    def _target_hints(self) -> list[str]:
        found = []
        for column, t in self.targets:
            if not column.whole or t.name in self.kinds:
                continue
            count = len(column.distinct)
            if t.kind == "multiclass":
                found.append(
                    f"target {t.name!r} has {count} different whole numbers and was taken as classes. If they are "
                    f"amounts, set {_kind(t.name, 'regression')}."
                )
            elif t.kind == "regression" and count <= 2 * FEW:
                found.append(
                    f"target {t.name!r} has {count} different whole numbers and was taken as amounts. If they are "
                    f"classes, set {_kind(t.name, 'multiclass')}."
                )
        return found

    def _input_hints(self) -> list[str]:
        told = [(column, part) for column, part in self.inputs if column.name not in self.kinds]
        found = []
        levels = {column.name: part.width for column, part in told if isinstance(part, Categorical)}
        if wide := {name: width for name, width in levels.items() if width > MANY}:
            found.append(
                f"{_these(list(wide))} text with {', '.join(map(str, wide.values()))} levels in the training rows, an "
                f"input for each. If they say nothing of other rows, set {_ignore(list(wide))}."
            )
        counted = [column.name for column, part in told if isinstance(part, Numeric) and _counts(column)]
        if counted:
            found.append(
                f"{_these(counted, 'has', 'have')} a whole number of its own in every row, as identifiers do. If its "
                f"size says nothing, set {_ignore(counted)}."
            )
        codes = [c.name for c, part in told if isinstance(part, Numeric) and c.whole and 2 < len(c.distinct) <= FEW]
        if codes:
            found.append(
                f"{_these(codes, 'has', 'have')} at most {FEW} different whole numbers, taken as amounts. If they "
                f"stand for classes, set {_kind(codes[0], 'categorical')}."
            )
        dates = [c.name for c, part in told if isinstance(part, Numeric) and _compact_dates(c)]
        if dates:
            found.append(
                f"{_these(dates, 'has', 'have')} whole numbers that look like dates such as 20240131. Written as "
                "2024-01-31 they become numbers of days."
            )
        return found


def _counts(column: Column) -> bool:
    """Whether the cells are whole numbers without repetition, and without gaps or by name identifiers."""
    numbers = [n for n in column.distinct.values() if n is not None]
    known = int(column.present.sum())
    if not (column.whole and len(numbers) == known > FEW):
        return False
    return max(numbers) - min(numbers) == known - 1 or IDENTIFIER.search(column.name) is not None


def _compact_dates(column: Column) -> bool:
    if not column.whole or column.few:
        return False
    numbers = torch.tensor(list(column.distinct.values()), dtype=torch.float64)
    months, days = numbers.div(100).floor() % 100, numbers % 100
    inside = (numbers > 19000101) & (numbers < 21001231) & (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    return bool(inside.all())


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name if len(name) <= 20 else f"{name[:17]}..." for name in names[:SHOWN])
    return shown + (", ..." if len(names) > SHOWN else "")


def _these(names: Sequence[str], one: str = "is", several: str = "are") -> str:
    return f"{', '.join(map(repr, names))} {one if len(names) == 1 else several}"


def _kind(name: str, kind: str) -> str:
    """The override that sets the kind of a column."""
    plain = re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII)
    return f"problem.kinds.{name}={kind}" if plain else f'"problem.kinds={{{name!r}: {kind}}}"'


def _ignore(names: Sequence[str]) -> str:
    plain = all(re.fullmatch(r"\w+", name, re.ASCII) for name in names)
    return f"problem.ignore=[{','.join(names)}]" if plain else f'"problem.ignore={list(names)}"'


def _day(days: float) -> str:
    moment = EPOCH + timedelta(days=days)
    return moment.strftime("%Y-%m-%d" if moment.hour == moment.minute == 0 else "%Y-%m-%d %H:%M")
