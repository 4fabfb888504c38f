"""Checkpoints of the members of a fleet, in the form of those that a run alone writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities.types import LRSchedulerConfig

from autoloss.app.directories import CHECKPOINT
from autoloss.app.train_one import checkpoint_callbacks
from autoloss.app.trainer_flags import build_trainer
from autoloss.training.fleet.member import Member
from autoloss.training.fleet.plan import Reached
from autoloss.training.lightning.run_module import RunModule
from autoloss.training.lightning.shared.checkpoint_file import CheckpointFile
from autoloss.training.lightning.shared.rng import restore_rng, rng_state, untouched_rng


class MemberCheckpoint:
    """Writes the checkpoint of one member, which a run alone goes on from.

    Lightning itself writes the file, from a Trainer that has trained nothing and is told how far the member is. The
    random generators are as they were when the member was built: the members of a fleet share theirs.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any], module: RunModule, member: Member) -> None:
        self.path, self.config = directory / CHECKPOINT, config
        self.module, self.member = module, member
        self._random = rng_state()
        self._trainer: pl.Trainer | None = None
        self._tensors = _OwnTensors()

    def __call__(self, reached: Reached) -> None:
        """Write the checkpoint of a member that has ``reached`` the end of an epoch."""
        trainer = self._trainer = self._trainer or self._built()
        self._tensors.taken = reached.batches
        tell_progress(trainer, reached)
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint):
                callback.best_model_path = str(self.path.resolve())
        with untouched_rng():
            restore_rng(self._random)
            trainer.save_checkpoint(self.path, weights_only=False)

    def _built(self) -> pl.Trainer:
        trainer = build_trainer(
            self.config["trainer"],
            default_root_dir=str(self.path.parent),
            logger=False,
            callbacks=[self._tensors, *checkpoint_callbacks(self.config, self.path.parent.parent)],
            plugins=[CheckpointFile()],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=True,
            num_sanity_val_steps=0,
        )
        trainer.strategy.connect(self.module)
        self.module.trainer = trainer
        trainer.strategy.optimizers = [self.member.optimizer]
        if self.member.scheduler is not None:
            trainer.strategy.lr_scheduler_configs = [LRSchedulerConfig(self.member.scheduler, interval="step")]
        return trainer


class _OwnTensors(pl.Callback):
    """Leaves the other members out of a checkpoint: a member's parameters are parts of tensors of all.

    ``taken`` is the number of batches that were taken of the epoch.
    """

    taken = 0

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = checkpoint["state_dict"]
        state.update({name: tensor.clone() for name, tensor in state.items()})
        checkpoint["loops"]["fit_loop"]["state_dict"]["combined_loader"] = [{"taken": self.taken}]


def tell_progress(trainer: pl.Trainer, reached: Reached) -> None:
    """Make ``trainer`` one that has trained as far as ``reached``, to the end of an epoch before its checkpoint."""
    loop = trainer.fit_loop
    _count(loop.epoch_progress, reached.epochs, reached.epochs)
    loop.epoch_progress.total.completed -= 1  # the epoch is completed after its checkpoint
    loop.epoch_progress.current.completed -= 1
    inner, here = loop.epoch_loop, reached.steps // reached.epochs
    _count(inner.batch_progress, reached.batches * reached.epochs, reached.batches)
    inner.batch_progress.is_last_batch = True
    _count(inner.scheduler_progress, reached.steps, here)
    progress = inner.automatic_optimization.optim_progress.optimizer
    _count(progress.step, reached.steps, here)
    _count(progress.zero_grad, reached.steps, here)
    inner._batches_that_stepped = reached.steps


def _count(progress: Any, total: int, current: int) -> None:
    for part, number in ((progress.total, total), (progress.current, current)):
        for name in vars(part):
            setattr(part, name, number)
