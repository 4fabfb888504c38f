"""Records the weights and losses of a module while Lightning trains it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from autoloss.core.clock import Clock
from autoloss.core.errors import require
from autoloss.core.need import GRADIENTS
from autoloss.training.lightning.loggers import beside
from autoloss.training.record.cadence import Cadence
from autoloss.training.record.csv_file import CsvFile
from autoloss.training.record.hparams import TableRow, write_row
from autoloss.training.record.recorder import Recorder
from autoloss.training.record.tensorboard import write_text
from autoloss.training.step.player import Player


class RecordCallback(pl.Callback):
    """Writes ``trajectory.csv`` and TensorBoard events: every ``every``-th step, ever fewer, and always the last one.

    After each validation ``metrics.csv`` gets a row: the problem's metrics, the losses on validation data, and the mean
    training losses since the last validation.

    The module must have ``players`` by name and a ``clock``, whose step is the x axis. The callback makes a recorder
    the ``listener`` of each player. Where a weighting measures no gradients, they are compared every ``probe_every``
    steps for the record alone (0: never). TensorBoard has the ``config`` as text, and the ``row`` in its table of
    hyper-parameters, with the validation metrics. A NaN that was noted on the device is reported here, before a
    checkpoint is written.
    """

    def __init__(
        self,
        directory: Path,
        every: int = 10,
        probe_every: int = 0,
        config: Mapping[str, Any] | None = None,
        row: TableRow | None = None,
    ) -> None:
        require(probe_every >= 0, "record.probe_every must not be negative", f"it is {probe_every}")
        self.directory, self.every, self.config, self.row = directory, every, config, row
        self.probe = Cadence(probe_every).due if probe_every else None
        self._recorder: Recorder | None = None
        self._metrics: CsvFile | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        players = _players(pl_module)
        for player in players.values():
            player.watch_gradients(self.probe)
        if not trainer.is_global_zero:
            return
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        self._recorder = Recorder(
            self.directory,
            {name: player.terms for name, player in players.items()},
            self.every,
            start=_steps(pl_module),
            writer=boards[0].experiment if boards else None,
            measures={name: bool(player.weighting.needs & GRADIENTS) for name, player in players.items()},
        )
        for logger in beside(trainer):
            self._recorder.others.append(logger.log_metrics)
            if self.row is not None:
                logger.log_hyperparams(dict(self.row.values))
        # The row of a validation has the number of the step after it.
        steps = _steps(pl_module)
        self._metrics = CsvFile(self.directory / "metrics.csv", start=steps + 1 if steps else 0)
        _describe_unbalanced(self._recorder, pl_module)
        for name, player in players.items():
            player.listener = self._recorder.listener(name)
        if self.config is not None:
            write_text(self._recorder.writer, "configuration", self.config)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._settle(pl_module)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._settle(pl_module)

    def _settle(self, pl_module: pl.LightningModule) -> None:
        for player in _players(pl_module).values():
            player.check()
        if self._recorder is not None:
            _describe_unbalanced(self._recorder, pl_module)
            self._recorder.flush()

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Read by every process, whether it writes or not: a metric that each keeps is put together when it is read.
        metrics = trainer.callback_metrics
        if self._recorder is None or self._metrics is None:
            return
        found = {k: float(v) for k, v in metrics.items() if k.startswith(("val/", "val_loss/"))}
        found |= self._recorder.means()
        clock: Clock = pl_module.clock  # type: ignore[assignment]
        with self._recorder.unwritten.taken():
            self._metrics.append([(clock, found)])

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        found = trainer.callback_metrics
        if self._recorder is not None and self.row is not None:
            metrics = {k: float(v) for k, v in found.items() if k.startswith("val/")}
            write_row(self._recorder.writer, self.row, metrics)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._recorder is not None:
            for player in _players(pl_module).values():
                player.listener = None
            self._recorder.close()
            self._recorder = None


def _players(module: pl.LightningModule) -> Mapping[str, Player]:
    players: Mapping[str, Player] = module.players  # type: ignore[assignment]
    return players


def _describe_unbalanced(recorder: Recorder, module: pl.LightningModule) -> None:
    for name, player in _players(module).items():
        recorder.describe_unbalanced(name, player.declared_units)


def _steps(module: pl.LightningModule) -> int:
    clock: Clock = module.clock  # type: ignore[assignment]
    return clock.step
