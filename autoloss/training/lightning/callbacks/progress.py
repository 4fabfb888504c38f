"""Shows one progress bar for a whole training."""

from __future__ import annotations

import pytorch_lightning as pl
from tqdm import tqdm


class Progress(pl.Callback):
    """Shows finished epochs, remaining time and the last metrics; nothing if the output is not a terminal."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        if trainer.is_global_zero:
            self._bar = tqdm(
                total=total, initial=trainer.current_epoch, desc=self.title, unit="epoch", leave=False, disable=None
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Read by every process: a metric that is kept by each is put together when it is read.
        metrics = trainer.callback_metrics
        if self._bar is not None:
            values = {name.removeprefix("val/"): f"{float(v):.3g}" for name, v in metrics.items()}
            self._bar.set_postfix(values, refresh=False)
            self._bar.update()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
