"""What the weight of each loss did to a held-out objective."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.measured.signal import AfterStep, Drawn, StepOutcome
from autoloss.core.need import Need


class Alignment(AfterStep):
    """``-d L_held(p') / d w_k`` [K], with p' the parameters after the optimiser's step; 0 for absent losses."""

    name = "alignment"
    need = Need.ALIGNMENT
    cost = "a plain step, a forward and backward of the held-out batch, and one forward-mode pass of the losses"
    passes = "a held-out step and one forward-mode pass"

    def measure(self, outcome: StepOutcome) -> Tensor | None:
        return outcome.alignment()

    def drawn(self, drawn: Drawn) -> Tensor:
        """Random values, about a third of them negative."""
        # A source of its own: the other numbers stay what they were.
        source = torch.Generator().manual_seed(drawn.seed)
        return 0.01 * (drawn.losses**2 * (torch.randn(drawn.losses.shape, generator=source) + 0.5))


ALIGNMENT = Alignment()
