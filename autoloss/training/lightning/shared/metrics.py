"""Logs the means of a problem's metrics."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor

from autoloss.core.problem import Problem


class LogsMeans(pl.LightningModule):
    """A Lightning module that adds up the values of a split, and logs their means at the end of the split.

    Calling ``log`` for each batch gives the same means, but costs more than the forward of a small network.
    """

    problem: Problem
    _sums: dict[str, tuple[Tensor, int]]
    _tallies: dict[str, Tensor]

    def add_values(self, split: str, metrics: Mapping[str, Tensor]) -> None:
        """Add a batch's values [at most B] of each metric."""
        for name, values in metrics.items():
            self.add_sum(f"{split}/{name}", values.float().sum(), values.numel())

    def add_sum(self, tag: str, total: Tensor, number: Tensor | float) -> None:
        """Add ``number`` values with the sum ``total``; the mean over all of them is logged under ``tag``."""
        before, count = self._sums.get(tag, (0.0, 0))
        self._sums[tag] = before + total.detach(), count + int(number)

    def add_tally(self, sums: Mapping[str, Tensor]) -> None:
        """Add a batch's sums of the problem's :meth:`~autoloss.core.problem.Problem.tally`."""
        for name, of in sums.items():
            self._tallies[name] = self._tallies[name] + of.detach() if name in self._tallies else of.detach()

    def on_validation_epoch_start(self) -> None:
        """Drop the sums of an evaluation that was interrupted."""
        self._sums, self._tallies = {}, {}

    def on_validation_epoch_end(self) -> None:
        """Log the means, and what the problem concludes from its sums."""
        self._log("val")

    def on_test_epoch_start(self) -> None:
        """As for validation."""
        LogsMeans.on_validation_epoch_start(self)

    def on_test_epoch_end(self) -> None:
        """As for validation."""
        self._log("test")

    def _log(self, split: str) -> None:
        for tag, (total, number) in self._sums.items():
            # Lightning weights the mean of each process by its number of values, which may be 0.
            mean = total / number if number else torch.zeros_like(total)
            self.log(tag, mean, on_step=False, on_epoch=True, batch_size=number, sync_dist=True)
        whole = {name: self.trainer.strategy.reduce(of, reduce_op="sum") for name, of in self._tallies.items()}
        for name, value in (self.problem.conclude(whole) if whole else {}).items():
            # The same on every rank: the sums were reduced.
            self.log(f"{split}/{name}", float(value), on_step=False, on_epoch=True, sync_dist=True)
