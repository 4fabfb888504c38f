"""Logs the means of a problem's metrics."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor


class LogsMeans(pl.LightningModule):
    """A Lightning module that adds up the values of a split, and logs their means at the end of the split.

    Calling ``log`` for each batch gives the same means, but costs more than the forward of a small network.
    """

    _sums: dict[str, tuple[Tensor, int]]

    def add_values(self, split: str, metrics: Mapping[str, Tensor]) -> None:
        """Add a batch's values [at most B] of each metric."""
        for name, values in metrics.items():
            self.add_sum(f"{split}/{name}", values.float().sum(), values.numel())

    def add_sum(self, tag: str, total: Tensor, number: int) -> None:
        """Add ``number`` values with the sum ``total``; the mean over all of them is logged under ``tag``."""
        before, count = self._sums.get(tag, (0.0, 0))
        self._sums[tag] = before + total.detach(), count + number

    def on_validation_epoch_start(self) -> None:
        """Drop the sums of an evaluation that was interrupted."""
        self._sums = {}

    def on_validation_epoch_end(self) -> None:
        """Log the means."""
        for tag, (total, number) in self._sums.items():
            # Lightning weights the mean of each process by its number of values, which may be 0.
            mean = total / number if number else torch.zeros_like(total)
            self.log(tag, mean, on_step=False, on_epoch=True, batch_size=number, sync_dist=True)

    def on_test_epoch_start(self) -> None:
        """As for validation."""
        LogsMeans.on_validation_epoch_start(self)

    def on_test_epoch_end(self) -> None:
        """As for validation."""
        LogsMeans.on_validation_epoch_end(self)
