"""Shows one progress bar for a whole training."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from tqdm import tqdm

from autoloss.core.io.text_table import number

MOST = 4  # at most so many weights are shown


_whole: list[tqdm] = []  # the bar of what these trainings are a part of


@contextmanager
def one_bar(bar: tqdm) -> Iterator[None]:
    """Within it a training has no bar of its own, and says behind ``bar`` how far it is."""
    _whole.append(bar)
    try:
        yield
    finally:
        _whole.remove(bar)


class Progress(pl.Callback):
    """Shows finished epochs, remaining time, the last metrics and weights; nothing if the output is not a terminal."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        if trainer.is_global_zero and not _whole:
            self._bar = tqdm(
                total=total, initial=trainer.current_epoch, desc=self.title, unit="epoch", leave=False, disable=None
            )

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Read by every process: a metric that is kept by each is put together when it is read.
        metrics = trainer.callback_metrics
        if _whole:
            _whole[-1].set_postfix_str(f"{self.title}, epoch {trainer.current_epoch + 1} of {trainer.max_epochs}")
        if self._bar is not None:
            if not self._bar.disable:  # reading the weights waits for the device
                self._bar.set_postfix_str(_shown(metrics, pl_module), refresh=False)
            self._bar.update()

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _shown(metrics: Mapping[str, Any], module: pl.LightningModule) -> str:
    """The metrics and the weights of the losses, for the end of the bar."""
    parts = [f"{name.removeprefix('val/')} {number(float(value), '.3g')}" for name, value in metrics.items()]
    if (player := getattr(module, "player", None)) is not None:
        pairs = list(zip(player.terms.names, player.last.tolist(), strict=True))
        weights = ", ".join(f"{name} {number(value, '.2g')}" for name, value in pairs[:MOST])
        parts.append(f"weights: {weights}" + (", ..." if len(pairs) > MOST else ""))
    return "; ".join(parts)
