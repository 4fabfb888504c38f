"""Notices a discriminator that has won."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from autoloss.core.errors import CollapseWarning, require

ZERO = 1e-4


class Collapse:
    """Warns, once, when the discriminator's adversarial loss has been at zero for ``patience`` of its steps.

    A discriminator that is always right has no gradient left for anybody. The count stays on the
    device; a CPU is looked at every ``patience`` steps, anything else at :meth:`check`.
    """

    def __init__(self, patience: int = 100) -> None:
        require(patience >= 1, "`patience` must be at least 1", f"patience={patience}")
        self.patience, self.warned = patience, False
        self._counts: Tensor | None = None  # steps at zero in a row, the longest such row, its last step
        self._noted = 0

    def note(self, loss: Tensor, step: int) -> None:
        """Take in the loss, a scalar, of the discriminator's step ``step``."""
        if self.warned:
            return
        if self._counts is None:
            self._counts = loss.new_zeros(3, dtype=torch.float64)
        row, longest, end = self._counts.unbind()
        row = torch.where(loss.detach().abs() < ZERO, row + 1, 0.0)
        longer = row > longest
        self._counts = torch.stack([row, torch.where(longer, row, longest), torch.where(longer, float(step), end)])
        self._noted += 1
        if loss.device.type == "cpu" and self._noted % self.patience == 0:
            self.check()

    def check(self) -> None:
        """Warn if it happened; waits for the device."""
        if self._counts is None or self.warned:
            return
        _, longest, end = self._counts.tolist()
        if longest < self.patience:
            return
        self.warned = True
        warnings.warn(
            f"The discriminator's loss has been 0 for {longest:.0f} steps, up to step {end:.0f}: it is always right, "
            "and teaches the generator nothing. Lower its learning rate, raise its penalty (r1), or set pace.target.",
            CollapseWarning,
            stacklevel=2,
        )
