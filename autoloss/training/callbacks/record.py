"""Records a module's weights and losses while it trains."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import TensorBoardLogger

from autoloss.core.need import GRADIENTS
from autoloss.training.modules.multitask import MultiTaskModule
from autoloss.training.recorder import Recorder
from autoloss.training.tensorboard import write_hparams


class Record(pl.Callback):
    """Writes ``trajectory.csv`` and TensorBoard events: every ``every``-th step, and the last.

    ``config`` becomes the run's row among TensorBoard's hyper-parameters, with the validation metrics. A NaN
    that was noted on the device is reported here, before a checkpoint is written.
    """

    def __init__(self, directory: Path, every: int = 10, config: Mapping[str, Any] | None = None) -> None:
        self.directory, self.every, self.config = directory, every, config
        self._recorder: Recorder | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        player = _module(pl_module).player
        boards = [logger for logger in trainer.loggers if isinstance(logger, TensorBoardLogger)]
        self._recorder = Recorder(
            self.directory,
            player.terms.names,
            player.terms.units,
            bool(player.weighting.needs & GRADIENTS),
            self.every,
            start=trainer.global_step,
            writer=boards[0].experiment if boards else None,
        )

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        weighed = _module(pl_module).weighed
        if self._recorder is not None and weighed is not None:
            self._recorder.record(weighed)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _module(pl_module).player.check()
        if self._recorder is not None:
            self._recorder.flush()

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._recorder is not None and self.config is not None:
            metrics = {k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
            write_hparams(self._recorder.writer, self.config, metrics)

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._recorder is not None:
            self._recorder.close()
            self._recorder = None


def _module(module: pl.LightningModule) -> MultiTaskModule:
    assert isinstance(module, MultiTaskModule)
    return module
