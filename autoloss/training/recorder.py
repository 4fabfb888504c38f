"""Writes the record of a training: ``trajectory.csv`` and TensorBoard events."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch.utils.tensorboard import SummaryWriter

from autoloss.core.book import LossBook, Row
from autoloss.core.errors import require
from autoloss.training.tensorboard import layout
from autoloss.training.weigh import Weighed

BLOCK = 64


class Recorder:
    """Records every ``every``-th step, and always the last one.

    ``names`` are the losses, ``units`` what the weighting sees of them; ``measures_gradients``
    says whether there are gradient norms to record. Rows of steps from ``start`` on are removed
    from an earlier file, so that a resumed run continues its own trajectory.
    """

    def __init__(
        self,
        directory: Path,
        names: Sequence[str],
        units: Sequence[str],
        measures_gradients: bool,
        every: int = 10,
        start: int = 0,
        writer: SummaryWriter | None = None,
    ) -> None:
        require(every >= 1, "record.every must be at least 1", f"it is {every}")
        self.path = directory / "trajectory.csv"
        self.every, self.names = every, tuple(names)
        self._units = tuple(units) if measures_gradients else ()
        self._owned = writer is None
        self.writer = writer or SummaryWriter(str(directory))
        self._book = LossBook()
        self._last: Weighed | None = None
        self._recorded = -1
        kinds = [("loss_weight", self.names), ("loss_raw", self.names), ("loss_weighted", self.names)]
        kinds += [("grad_norm", self._units)]
        self.tags = [f"{kind}/{name}" for kind, of in kinds for name in of] + ["loss/total"]
        _open(self.path, ["step", "epoch", "progress", *self.tags], start)
        layout(self.writer, self.names, self._units)

    def record(self, weighed: Weighed) -> None:
        """Note one micro-batch; the first of a step is what is recorded."""
        clock = weighed.clock
        if clock.step == self._recorded:
            return
        self._last = weighed
        if clock.step % self.every == 0:
            self._write(weighed)

    def _write(self, weighed: Weighed) -> None:
        clock = weighed.clock
        self._last, self._recorded = None, clock.step
        nothing = weighed.weights.new_full((), float("nan"))
        values = torch.where(weighed.losses.present, weighed.losses.values, nothing)
        weights = torch.where(weighed.losses.present, weighed.weights, nothing)
        columns = {
            "loss_weight": (self.names, weights),
            "loss_raw": (self.names, values),
            "loss_weighted": (self.names, weights * values),
            "loss": (("total",), weighed.total.detach().reshape(1)),
        }
        if self._units and weighed.measured is not None:
            norms = weighed.measured.norms()
            columns["grad_norm"] = (self._units, torch.where(weighed.signals.present, norms, nothing))
        self._book.add(clock, columns)
        if len(self._book) >= BLOCK:
            self.flush()

    def flush(self) -> None:
        """Write what is recorded so far."""
        rows = self._book.take()
        if not rows:
            return
        with self.path.open("a", newline="") as file:
            writer = csv.writer(file)
            writer.writerows(_cells(row, self.tags) for row in rows)
        for row in rows:
            for tag, value in row.numbers.items():
                if value == value:
                    self.writer.add_scalar(tag, value, row.clock.step)

    def close(self) -> None:
        """Record the last step, write everything, and close the writer if it is ours."""
        if self._last is not None:
            self._write(self._last)
        self.flush()
        self.writer.flush()
        if self._owned:
            self.writer.close()


def _cells(row: Row, tags: Sequence[str]) -> list[str]:
    numbers = [row.numbers.get(tag, float("nan")) for tag in tags]
    clock = row.clock
    return [
        str(clock.step),
        str(clock.epoch),
        f"{clock.progress:.6g}",
        *(f"{x:.9g}" if x == x else "" for x in numbers),
    ]


def _open(path: Path, header: list[str], start: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows: list[list[str]] = []
    if start and path.exists():
        with path.open(newline="") as file:
            before = list(csv.reader(file))
        if before and before[0] == header:
            rows = [row for row in before[1:] if len(row) == len(header) and int(row[0]) < start]
    fresh = path.with_suffix(".tmp")
    with fresh.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    os.replace(fresh, path)
