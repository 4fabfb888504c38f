"""The losses of the same batch after the optimiser's step."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.measured.signal import AfterStep, Drawn, StepOutcome
from autoloss.core.need import Need


class After(AfterStep):
    """The losses [K] of the same batch after the optimiser's step; 1 for absent losses."""

    name = "after"
    need = Need.LOOKAHEAD
    cost = "a plain step and one forward without a graph, after the optimiser's step"
    passes = "one forward"
    steep = False
    absent = 1.0

    def measure(self, outcome: StepOutcome) -> list[Tensor]:
        return outcome.again()

    def watched(self, value: Tensor, present: Tensor) -> Tensor:
        return torch.where(present, value, 0.0)

    def drawn(self, drawn: Drawn) -> Tensor:
        """The losses, lowered by up to a tenth."""
        return drawn.losses * (1 - 0.1 * drawn.falls)


AFTER = After()
