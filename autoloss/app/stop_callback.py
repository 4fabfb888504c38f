"""Ends a training that was asked to stop, where it can go on later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from autoloss.search import stop


class Obey(pl.Callback):
    """Stops after the optimiser step during which somebody asked, and writes ``checkpoint`` (if any) before it does.

    Of several processes each would stop at a step of its own: there the training ends at once, as Lightning ends it,
    and goes on from its last checkpoint. So it does where a turn of two players is several batches.
    """

    def __init__(self, checkpoint: Path | None = None) -> None:
        self.checkpoint = checkpoint

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        whole = (batch_idx + 1) % trainer.accumulate_grad_batches == 0
        # An epoch that is over is validated first.
        if not stop.requested() or not whole or trainer.is_last_batch:
            return
        if trainer.world_size > 1:
            raise KeyboardInterrupt
        if self.checkpoint is not None and pl_module.automatic_optimization:
            trainer.save_checkpoint(self.checkpoint)
        stop.check()

    def on_validation_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.world_size == 1:
            stop.check()
