"""Warns of a discriminator that is always right."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from autoloss.core.errors import CollapseWarning, require

ZERO = 1e-4


class Collapse:
    """Warns once if the discriminator's adversarial loss has been zero for ``patience`` of its steps in a row.

    A discriminator that is always right has no gradient, and gives none to the generator. The count stays on the
    device. On a CPU it is read every ``patience`` steps, on other devices at :meth:`check`.
    """

    def __init__(self, patience: int = 100) -> None:
        require(patience >= 1, "`patience` must be at least 1", f"patience={patience}")
        self.patience, self.warned = patience, False
        self._counts: Tensor | None = None  # steps at zero in a row, the longest such row, its last step
        self._noted = 0

    def note(self, loss: Tensor, step: int) -> None:
        """Count ``loss``, the discriminator's loss at its step ``step``, a scalar."""
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
        """Warn if the loss was zero for long enough; waits for the device."""
        if self._counts is None or self.warned:
            return
        _, longest, end = self._counts.tolist()
        if longest < self.patience:
            return
        self.warned = True
        warnings.warn(
            f"The discriminator's loss has been 0 for {longest:.0f} steps, up to step {end:.0f}: it is always right, "
            "and the generator learns nothing from it. Lower its learning rate, raise its penalty (r1), or set "
            "pace.target.",
            CollapseWarning,
            stacklevel=2,
        )
