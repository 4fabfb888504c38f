"""Writes the record of a training: ``trajectory.csv`` and TensorBoard events."""

from __future__ import annotations

import atexit
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from autoloss._version import __version__
from autoloss.core.clock import Clock
from autoloss.core.io.files import read_json, write_json
from autoloss.core.terms import Terms
from autoloss.report.record import read_columns
from autoloss.training.record.buffer import RecordBuffer
from autoloss.training.record.cadence import DENSE, Cadence
from autoloss.training.record.csv_file import CsvFile
from autoloss.training.record.player_columns import PlayerColumns
from autoloss.training.record.tensorboard import TensorBoardWriter, curves
from autoloss.training.record.unwritten import Unwritten, steady
from autoloss.training.step.notes import Notes
from autoloss.training.step.weigh import Weighed

BLOCK = 64  # rows that are read from the device and written at once
SECONDS = 60.0  # after which the rows are written with the next one, however few they are


@dataclass(slots=True)
class _CurrentStep:
    """The current step by player: tensors to be recorded, what is recorded if the step is the last, what is written."""

    clock: Clock
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    if_last: dict[str, tuple[Weighed, Notes]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)


class Recorder:
    """Records every ``every``-th step, ever fewer of them (:class:`Cadence`), and always the last one.

    ``players`` holds the :class:`Terms` of each player by name; a single player has an empty name. The players of a
    step share a row. Steps at which gradients were measured for the record alone are recorded too. From an earlier
    file rows of step ``start`` and later are removed, so that a resumed run continues its own trajectory. ``measures``
    says for which players the weighting compares gradients. ``record.json`` describes the players.

    Rows are written in blocks, after ``SECONDS`` at the latest, and when the process ends without :meth:`close`.
    """

    def __init__(
        self,
        directory: Path,
        players: Mapping[str, Terms],
        every: int = 10,
        start: int = 0,
        writer: SummaryWriter | None = None,
        dense: int = DENSE,
        measures: Mapping[str, bool] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> None:
        self.cadence = Cadence(every, dense)
        self._players = {name: PlayerColumns(terms, name) for name, terms in players.items()}
        columns = list(self._players.values())
        self._owned = writer is None
        self.unwritten = Unwritten(directory, _gaps(directory, start))
        self.writer = writer or SummaryWriter(str(directory))
        steady(self.writer, self.unwritten.take)
        self._tensorboard = TensorBoardWriter(self.writer, columns)
        self._file = CsvFile(directory / "trajectory.csv", [tag for of in columns for tag in of.tags()], start)
        about = {
            name: {**terms.about(), "measures": (measures or {}).get(name, False)} for name, terms in players.items()
        }
        self._described: dict[str, Any] = {"players": about, "every": every, "dense": dense, "version": __version__}
        self._described |= {"config": config} if config is not None else {}
        self._describe()
        self._buffer = RecordBuffer()
        self._step: _CurrentStep | None = None
        self._lately = _since_validation(directory, start)
        self._ended = False
        self.others: list[Callable[[dict[str, float], int], None]] = []  # what is told the curves of each row, too
        self._written = time.monotonic()
        self._process = os.getpid()
        atexit.register(self.end)

    def _describe(self) -> None:
        gaps = {"gaps": self.unwritten.gaps} if self.unwritten.gaps else {}
        write_json(self._file.path.with_name("record.json"), {**self._described, **gaps})
        self._gaps_said = len(self.unwritten.gaps)

    def describe_unbalanced(self, player: str, names: Sequence[str]) -> None:
        """Say in ``record.json`` which units of ``player`` keep their base weight, as a replay must know."""
        if list(names) != self._described["players"][player].get("unbalanced", []):
            self._described["players"][player]["unbalanced"] = list(names)
            with self.unwritten.taken():
                self._describe()

    def listener(self, player: str) -> Callable[[Weighed, Notes], None]:
        """What a :class:`Player` calls with each weighed micro-batch, to be recorded under the name ``player``."""
        return _Listener(self, player)

    def record(self, weighed: Weighed, player: str = "", notes: Notes | None = None) -> None:
        """Record a micro-batch of ``player`` and take its ``notes``; of several in a step only the first is kept."""
        taken = Notes() if notes is None else notes.take()
        number = weighed.signals.step
        if self._step is None or self._step.clock.step != number:
            self._end_step()
            self._step = _CurrentStep(weighed.clock)
        step = self._step
        if player in step.tensors or player in step.if_last or player in step.written:
            return
        if self.cadence.due(number) or weighed.probed is not None:
            step.tensors[player] = self._players[player].tensors(weighed, taken)
        else:
            step.if_last[player] = weighed, taken

    def flush(self) -> None:
        """Write all that is recorded so far, the current step included, in case training ends here."""
        self._end_step()
        self._write()

    def means(self) -> dict[str, float]:
        """The mean of each loss, as ``train_loss/name``, over the rows since the last call."""
        self.flush()
        found = {tag.replace("loss_raw", "train_loss", 1): fmean(values) for tag, values in self._lately.items()}
        self._lately.clear()
        return found

    def close(self) -> None:
        """Record the last step, write everything, and close the writer if the recorder made it."""
        if self._step is not None:
            for player, (weighed, notes) in self._step.if_last.items():
                self._step.tensors[player] = self._players[player].tensors(weighed, notes)
        self.flush()
        self._step, self._ended = None, True
        if self._gaps_said < len(self.unwritten.gaps):
            with self.unwritten.taken():
                self._describe()
        self.writer.flush()
        if self._owned:
            self.writer.close()
        atexit.unregister(self.end)

    def end(self) -> None:
        """Close it in the process that made it, unless it is closed or its directory is gone."""
        # A process that was forked from this one has a copy of the rows, which are not its own; the directory may be
        # a temporary one that is gone.
        if not self._ended and os.getpid() == self._process and self._file.path.parent.exists():
            self.writer._get_file_writer()  # a logger that shares the writer may have closed it
            self.close()

    def _end_step(self) -> None:
        if self._step is None or not self._step.tensors:
            return
        tensors = self._step.tensors
        self._buffer.add(self._step.clock, {key: x for of in tensors.values() for key, x in of.items()})
        self._step.written |= set(tensors)
        tensors.clear()
        if len(self._buffer) >= BLOCK or time.monotonic() - self._written > SECONDS:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        steps = self._buffer.take()
        if not steps:
            return
        rows = [self._row(step.numbers) for step in steps]
        with self.unwritten.taken([step.clock.step for step in steps]):
            self._file.append([(step.clock, row) for step, row in zip(steps, rows, strict=True)])
            if self._gaps_said < len(self.unwritten.gaps):
                self._describe()
        for step, row in zip(steps, rows, strict=True):
            for tag, x in row.items():
                if tag.startswith("loss_raw/") and x == x:
                    self._lately[tag].append(x)
            self._tensorboard.scalars(row, step.clock.step, step.time)
            for log in self.others:
                log(curves(row), step.clock.step)
        self._tensorboard.pictures(steps)

    def _row(self, numbers: Mapping[str, list[float]]) -> dict[str, float]:
        return {tag: x for player in self._players.values() for tag, x in player.columns(numbers).items()}


def _gaps(directory: Path, start: int) -> list[list[int]]:
    """The gaps before step ``start`` of the record that goes on."""
    before = (read_json(directory / "record.json") or {}) if start else {}
    return [gap for gap in before.get("gaps", ()) if gap[0] < start]


def _since_validation(directory: Path, start: int) -> defaultdict[str, list[float]]:
    """The losses of the rows between the last validation and step ``start``, at which a resumed run goes on."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    if not start:
        return found
    columns = read_columns(directory / "trajectory.csv")
    validated = read_columns(directory / "metrics.csv").get("step", ())
    last = max((step for step in validated if step <= start), default=0)
    for row, step in enumerate(columns.get("step", ())):
        for tag, column in columns.items() if last <= step < start else ():
            if tag.startswith("loss_raw/") and column[row] == column[row]:
                found[tag].append(float(column[row]))
    return found


@dataclass(frozen=True)
class _Listener:
    """Records the micro-batches of one player; a deep copy of the player has none, since it is not what is recorded."""

    recorder: Recorder
    player: str

    def __call__(self, weighed: Weighed, notes: Notes) -> None:
        self.recorder.record(weighed, self.player, notes)

    def __deepcopy__(self, memo: dict[int, object]) -> None:
        return None
