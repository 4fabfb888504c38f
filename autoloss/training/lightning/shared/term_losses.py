"""The losses of a Lightning module's terms: their parameters, schedules and deferred checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.loss import Loss
from autoloss.core.schedules.progressive import Progressive
from autoloss.training.step.clock_check import unknown_length


class TermLosses(pl.LightningModule):
    """A Lightning module whose losses may have schedules, and whose errors about wrong labels name the term.

    On an accelerator a wrong label is an error at the end of the epoch, before a checkpoint is written.
    """

    losses: dict[str, Loss]

    @property
    def clock(self) -> Clock:
        """The step, the epoch and the progress of training."""
        raise NotImplementedError

    def keep_losses(self, losses: Mapping[str, Loss]) -> None:
        """Store the losses by term; their parameters become the module's parameters."""
        self.losses = dict(losses)
        # A list and not a dict: a term may have any name, and `type` is an attribute of every module.
        self.loss_modules = nn.ModuleList(self.losses.values())
        for name, loss in self.losses.items():
            for part in _parts(loss):
                part.notices.term = name
        self._progressive = [part for part in self.loss_modules.modules() if isinstance(part, Progressive)]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Set the parameters of the losses that have a schedule."""
        if not any(part.schedules for part in self._progressive):
            return
        clock = self.clock
        progress = clock.progress
        for name, loss in self.losses.items() if "progress" in clock.unknown else ():
            if any(part.schedules for part in _parts(loss)):
                raise unknown_length(f"A parameter of loss {name!r}")
        for loss in self.losses.values():
            loss.follow(progress)

    def on_train_epoch_end(self) -> None:
        """Raise the errors and give the warnings that the losses have noted on the device."""
        for loss in self.losses.values():
            for part in _parts(loss):
                part.notices.check()


def _parts(loss: Loss) -> list[Loss]:
    return [part for part in loss.modules() if isinstance(part, Loss)]
