"""What a module does with the losses of its terms besides calling them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.loss import Loss


class TermLosses(pl.LightningModule):
    """A module whose losses follow progress, and whose wrong labels are reported by its terms' names.

    A label that was wrong on a device is an error at the end of the epoch, before a checkpoint is written.
    """

    losses: dict[str, Loss]

    @property
    def clock(self) -> Clock:
        """Where training stands."""
        raise NotImplementedError

    def keep_losses(self, losses: Mapping[str, Loss]) -> None:
        """Take the losses of the terms, by name; their parameters are the module's."""
        self.losses = dict(losses)
        # A list, for a loss may have any name: `type` is an attribute of every module already.
        self.loss_modules = nn.ModuleList(self.losses.values())
        for name, loss in self.losses.items():
            for part in _parts(loss):
                part.notices.term = name

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the losses' parameters that have a schedule."""
        progress = self.clock.progress
        for loss in self.losses.values():
            loss.follow(progress)

    def on_train_epoch_end(self) -> None:
        """Raise or warn of what the losses noted on the device."""
        for loss in self.losses.values():
            for part in _parts(loss):
                part.notices.check()


def _parts(loss: Loss) -> list[Loss]:
    return [part for part in loss.modules() if isinstance(part, Loss)]
