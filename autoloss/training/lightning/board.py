"""Lightning's TensorBoard logger, without what nobody looks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.loggers import TensorBoardLogger

NOISE = ("epoch",)  # Lightning adds it to all that is logged; the record has it


class Board(TensorBoardLogger):
    """Writes metrics beside the record, in the same file, without :data:`NOISE`."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        super().log_metrics({name: x for name, x in metrics.items() if name not in NOISE}, step)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's row of the table is written at the end, with its metrics."""
