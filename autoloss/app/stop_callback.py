"""Ends a training that was asked to stop, at a point from which it can be resumed."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from autoloss.search import stop


class StopCallback(pl.Callback):
    """Stops a training that was asked to stop, after the current optimiser step, and writes ``checkpoint`` (if any).

    Several processes could stop at different steps: there Lightning ends the training at once, without a new
    checkpoint, and it is resumed from the last one. Manual optimisation (a GAN) writes no new checkpoint either.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        self.checkpoint = checkpoint
        self._on_sigterm = signal.getsignal(signal.SIGTERM)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Of several processes, leave SIGTERM to our own handler.

        Lightning's broadcasts from wherever the signal finds this process: the others are not there, and all of them
        wait for ever.
        """
        if trainer.world_size > 1 and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As for training."""
        StopCallback.on_train_start(self, trainer, pl_module)

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """As for training."""
        StopCallback.on_train_start(self, trainer, pl_module)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        # After the last batch of an epoch the validation runs first.
        if not stop.requested() or not whole or trainer.is_last_batch:
            return
        if trainer.world_size > 1:
            raise KeyboardInterrupt
        if self.checkpoint is not None and pl_module.automatic_optimization:
            trainer.save_checkpoint(self.checkpoint, weights_only=False)
        stop.check()

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.world_size == 1:
            stop.check()
