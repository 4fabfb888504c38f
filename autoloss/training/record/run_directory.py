"""The directory that a person's own loop writes: the files of ``autoloss train``, and their page."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import require
from autoloss.core.io.files import write_json
from autoloss.core.io.versions import versions
from autoloss.core.need import GRADIENTS
from autoloss.core.tensors.ranks import world_size
from autoloss.report.write import run_record, write
from autoloss.training.record.claim import check_earlier, claimed, plain
from autoloss.training.record.csv_file import CsvFile
from autoloss.training.record.export import write_export
from autoloss.training.record.hparams import TableRow, write_row
from autoloss.training.record.recorder import BLOCK, Recorder
from autoloss.training.record.tensorboard import flat
from autoloss.training.step.notes import Notes
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed

CONVENTIONS = {
    "weight": "effective: d(total)/d(loss), base weights included",
    "values": "mean over the present items of all ranks",
    "metrics": "as they were measured last",
}


class RunDirectory:
    """Writes ``trajectory.csv``, ``metrics.csv`` and TensorBoard events, and at the end the summary and the page."""

    def __init__(self, directory: Path, player: Player, every: int, config: Mapping[str, Any], start: int) -> None:
        self.directory, self.player, self.config = directory, player, plain(config)
        measures = {"": bool(player.weighting.needs & GRADIENTS)}
        with ExitStack() as held:
            held.enter_context(claimed(directory))
            if not start:
                check_earlier(directory, config)
            # Until it is closed, this run has not ended.
            (directory / "summary.json").unlink(missing_ok=True)
            self.recorder = Recorder(directory, {"": player.terms}, every, start, measures=measures, config=self.config)
            self._metrics_file = CsvFile(directory / "metrics.csv", start=start + 1 if start else 0)
            self._claim = held.pop_all()
        self._free = weakref.finalize(self, _abandoned, self.recorder, self._claim, os.getpid())
        self._describe()
        self._metrics: dict[str, float] = {}
        self._goals: dict[str, str] = {}
        self._begun, self._check_every = time.perf_counter(), BLOCK * every

    def record(self, weighed: Weighed, notes: Notes) -> None:
        """Record a micro-batch with its notes."""
        self.recorder.record(weighed, notes=notes)
        # Of several processes all check at the same steps, by themselves: an error in this one alone would leave the
        # others waiting for it.
        if world_size() == 1 and weighed.clock.step % self._check_every == 0:
            self.player.check()
            self._describe()

    def measured(self, clock: Clock, metrics: Mapping[str, float | Tensor], goals: Mapping[str, str]) -> None:
        """Record metrics on validation data; ``goals`` are ``"min"`` or ``"max"``, which a sweep's score needs."""
        wrong = {name: goal for name, goal in goals.items() if goal not in ("min", "max")}
        require(not wrong, "A metric's goal must be 'min' or 'max'", f"it is {wrong}")
        self._metrics |= {name: _number(value) for name, value in metrics.items()}
        self._goals |= goals
        row = {f"val/{name}": value for name, value in self._metrics.items()}
        with self.recorder.unwritten.taken():
            self._metrics_file.append([(clock, row | self.recorder.means())])
        for tag, value in row.items():
            self.recorder.writer.add_scalar(tag, value, clock.step)

    def close(self, clock: Clock) -> None:
        """Write the last rows, the summary and the page."""
        try:
            self._close(clock)
        finally:
            self._free.detach()
            self._claim.close()

    def _describe(self) -> None:
        # A loss may say only when it is computed that it is not to be balanced.
        names = zip(self.player.terms.units, self.player.declared, strict=True)
        self.recorder.describe_unbalanced("", [unit for unit, declared in names if declared])

    def _close(self, clock: Clock) -> None:
        self._describe()
        if self._metrics:
            plain = {key: x for key, x in flat(self.config) if isinstance(x, (bool, int, float, str))}
            values = {**plain, "weighting": self.player.weighting.title()}
            write_row(self.recorder.writer, TableRow(values), {f"val/{k}": v for k, v in self._metrics.items()})
        self.recorder.close()
        sums = [sum(of) for of in zip(*run_record(self.directory).weights.values(), strict=True)]
        known = [x for x in sums if x == x]
        summary = {
            "weighting": self.player.weighting.title(),
            "metrics": self._metrics,
            "goals": self._goals,
            "final_weights": dict(zip(self.player.terms.names, self.player.last.tolist(), strict=True)),
            **({} if self.player.numbers is None else {"loss_numbers": self.player.numbers.shown()}),
            **({} if self.player.constraints is None else {"constraints": self.player.constraints.shown()}),
            "mean_weight_sum": sum(known) / len(known) if known else float("nan"),
            "skipped_batches": self.player.nonfinite.skipped,
            "steps": clock.step,
            "seconds": round(time.perf_counter() - self._begun, 2),
            "conventions": CONVENTIONS,
            "versions": versions("torch"),
            "config": self.config,
        }
        with self.recorder.unwritten.taken():
            write_json(self.directory / "summary.json", summary)
            write_export(self.player.weighting, self.directory)
            write(self.directory)


def _abandoned(recorder: Recorder, claim: ExitStack, process: int) -> None:
    """Write the last rows of a balancer that nobody closed and nobody can reach any more, and free its directory."""
    if os.getpid() == process:
        recorder.end()
        claim.close()


def _number(value: float | Tensor) -> float:
    return float(value.detach() if isinstance(value, Tensor) else value)
