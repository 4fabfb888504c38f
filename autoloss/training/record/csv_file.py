"""A CSV file of numbers by step; a resumed run appends to it, and a new tag adds a column."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from autoloss.core.clock import Clock
from autoloss.core.io.csv_cells import escaped, unescaped
from autoloss.core.io.files import refuse_link, whole

CLOCK = ("step", "epoch", "progress")


class CsvFile:
    """Appends rows to ``path``: a clock and numbers by tag.

    A number that is missing or NaN is an empty cell. From an earlier file rows of step ``start`` and later are removed,
    so that a resumed run writes each row once. With ``start=0`` the file is written anew.
    """

    def __init__(self, path: Path, tags: Sequence[str] = (), start: int = 0) -> None:
        self.path = path
        rows: list[dict[str, str]] = []
        before: list[str] = []
        if start and path.exists():
            with path.open(newline="", encoding="utf-8", errors="replace") as file:
                reader = csv.DictReader(line for line in file if "\0" not in line)
                reader.fieldnames = [unescaped(tag) for tag in reader.fieldnames or ()]
                # A process that was killed may leave half a last row: its last cells are missing.
                complete = (row for row in reader if None not in row.values() and (row.get("step") or "").isdigit())
                rows = [row for row in complete if int(row["step"]) < start]
                before = [tag for tag in reader.fieldnames if tag not in CLOCK]
        self.tags = list(dict.fromkeys([*before, *tags]))
        with self._anew() as writer:
            writer.writerows([row.get(tag) or "" for tag in (*CLOCK, *self.tags)] for row in rows)

    def append(self, rows: Sequence[tuple[Clock, Mapping[str, float]]]) -> None:
        """Append ``rows``."""
        fresh = [tag for tag in dict.fromkeys(tag for _, row in rows for tag in row) if tag not in self.tags]
        if fresh:
            self._widen(fresh)
        size = self.path.stat().st_size
        try:
            with open(self.path, "a", newline="", encoding="utf-8", opener=refuse_link) as file:
                csv.writer(file).writerows(self._cells(clock, row) for clock, row in rows)
        except OSError:
            # A row of which a part was written would be joined to the next one.
            with suppress(OSError):
                os.truncate(self.path, size)
            raise

    def _widen(self, fresh: Sequence[str]) -> None:
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))[1:]
        before = self.tags
        self.tags = [*before, *fresh]
        try:
            with self._anew() as writer:
                writer.writerows([*row, *[""] * len(fresh)] for row in rows)
        except OSError:
            self.tags = before
            raise

    def _cells(self, clock: Clock, row: Mapping[str, float]) -> list[str]:
        numbers = (row.get(tag, float("nan")) for tag in self.tags)
        cells = (f"{x:.9g}" if x == x else "" for x in numbers)
        return [str(clock.step), str(clock.epoch), f"{clock.progress:.6g}", *cells]

    @contextmanager
    def _anew(self) -> Iterator[Any]:
        with whole(self.path, newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow([*CLOCK, *map(escaped, self.tags)])
            yield writer
