"""Reports the metrics of a training after each validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytorch_lightning as pl


class ReportMetrics(pl.Callback):
    """Calls ``report(epoch, metrics)`` after each validation; an exception from it ends the training.

    A search lets its pruner decide there. The first epoch is 1; ``metrics`` are those of the problem.
    """

    def __init__(self, report: Callable[[int, Mapping[str, float]], None]) -> None:
        self.report = report

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.sanity_checking or trainer.state.fn != "fit":
            return
        found = {k.removeprefix("val/"): float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")}
        self.report(trainer.current_epoch + 1, found)
