"""The losses of held-out data after the optimiser's step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.measured.signal import AfterStep, Drawn, StepOutcome
from autoloss.core.need import Need


class HeldOutLosses(AfterStep):
    """The losses [K] of a held-out batch after the optimiser's step, the network as in a validation (no dropout).

    NaN for losses that the training batch or the held-out batch does not have, and where a loss is not finite.
    """

    name = "held_out"
    need = Need.HELD_OUT
    cost = "a plain step and one forward of a held-out batch without a graph, after the optimiser's step"
    passes = "a held-out forward"
    steep = False
    absent = math.nan

    def measure(self, outcome: StepOutcome) -> Tensor:
        losses, present = outcome.held_out()
        return torch.where(present & losses.isfinite(), losses, math.nan)

    def watched(self, value: Tensor, present: Tensor) -> None:
        """Nothing: NaN is no error here."""

    def drawn(self, drawn: Drawn) -> Tensor:
        """A little above the losses of training, and as noisy."""
        source = torch.Generator().manual_seed(drawn.seed + 1)
        return drawn.losses * (1.1 + 0.1 * torch.randn(drawn.losses.shape, generator=source))


HELD_OUT = HeldOutLosses()
