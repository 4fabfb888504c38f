"""Equal weights first."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting, Wrapper


class Warmup(Wrapper):
    """Gives equal weights for ``steps`` optimiser steps, in which the inner weighting sees nothing.

    Args:
        steps: how many, at least 0.
    """

    use = "A weighting that the losses and gradients of an untrained network mislead (gradnorm's L(0), relobralo)."
    citation = "folklore"

    def __init__(self, inner: Weighting, steps: int = 100) -> None:
        super().__init__(inner)
        require(steps >= 0, "`steps` must be at least 0", f"steps={steps}")
        self.steps = steps

    def needs_at(self, step: int) -> Need:
        return self.inner.needs_at(step) if step >= self.steps else Need.VALUES

    def forward(self, signals: Signals) -> Tensor:
        if signals.step < self.steps:
            return signals.values.new_ones(len(signals.names))
        return self.inner(signals)

    def update(self, signals: Signals) -> None:
        if signals.step >= self.steps:
            super().update(signals)
