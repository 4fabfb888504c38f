"""The record of one member of a fleet: the files that a run alone writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoloss.core.clock import Clock
from autoloss.core.need import GRADIENTS
from autoloss.training.record.csv_file import CsvFile
from autoloss.training.record.hparams import TableRow, write_row
from autoloss.training.record.recorder import Recorder
from autoloss.training.record.tensorboard import write_text
from autoloss.training.step.player import Player


class MemberRecord:
    """The record of one member in ``directory``; TensorBoard has its ``config`` as text, and its ``row``."""

    def __init__(
        self, player: Player, directory: Path, config: Mapping[str, Any] | None, every: int, row: TableRow | None = None
    ) -> None:
        measures = {"": bool(player.weighting.needs & GRADIENTS)}
        self._row, self._player = row, player
        self.recorder = Recorder(directory, {"": player.terms}, every, measures=measures)
        self._metrics = CsvFile(directory / "metrics.csv")
        self._open = True
        self.recorder.describe_unbalanced("", player.declared_units)
        if config is not None:
            write_text(self.recorder.writer, "configuration", config)

    def due(self, step: int) -> bool:
        """Whether ``step`` has a row."""
        return self.recorder.cadence.due(step)

    def validated(self, clock: Clock, found: Mapping[str, float]) -> None:
        """Write a row of ``metrics.csv`` and TensorBoard's curves."""
        self.recorder.describe_unbalanced("", self._player.declared_units)
        self._metrics.append([(clock, {**found, **self.recorder.means()})])
        for tag, value in found.items():
            self.recorder.writer.add_scalar(tag, value, clock.step)

    def end(self, metrics: Mapping[str, float]) -> None:
        """Write the row of TensorBoard's table."""
        if self._row is not None:
            write_row(self.recorder.writer, self._row, {f"val/{name}": x for name, x in metrics.items()})

    def close(self) -> None:
        """Write what is left."""
        if self._open:
            self._open = False
            self.recorder.describe_unbalanced("", self._player.declared_units)
            self.recorder.close()
