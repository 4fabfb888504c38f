"""Checkpoints within an epoch, and how a training resumes from one."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint

from autoloss.training.lightning.loaders import EpochLoader


def epoch_checkpoint(**options: Any) -> ModelCheckpoint:
    """A checkpoint at the ends of epochs, which does not ask at each step whether one is due."""
    # Not a class of its own: the class's name is in the checkpoint.
    found = ModelCheckpoint(**options)
    vars(found)["on_train_batch_end"] = None
    return found


class StepCheckpoint(ModelCheckpoint):
    """A checkpoint every ``every_n_train_steps`` steps, except at the last step of an epoch.

    A training that resumes from the last step would skip the validation of that epoch.
    """

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, *args)


class Resume(pl.Callback):
    """Tells the training loader at which batch a checkpoint within an epoch was written.

    Lightning does this itself, but not if the number of steps was read before, which every learning-rate schedule does.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        loader, loop = trainer.train_dataloader, trainer.fit_loop
        if loop.restarted_mid_epoch and isinstance(loader, EpochLoader):
            loader.load_state_dict({"taken": loop.epoch_loop.batch_progress.current.ready})
