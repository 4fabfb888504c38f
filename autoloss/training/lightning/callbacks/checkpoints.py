"""Checkpoints within an epoch, and trainings that go on from one."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from autoloss.training.lightning.loaders import EpochLoader


class StepCheckpoint(ModelCheckpoint):
    """A checkpoint every ``every_n_train_steps`` steps, but for an epoch's last.

    A training that goes on from there would leave out the epoch's validation.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, *args)


class Resume(pl.Callback):
    """Lets the training loader begin where a checkpoint within an epoch was written.

    Lightning would tell the loader itself, but no longer does once somebody asked for the number of steps, as every
    schedule of learning rates must.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loader, loop = trainer.train_dataloader, trainer.fit_loop
        if loop.restarted_mid_epoch and isinstance(loader, EpochLoader):
            loader.load_state_dict({"taken": loop.epoch_loop.batch_progress.current.ready})
