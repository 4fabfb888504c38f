"""Measures and learns at every n-th step only."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting, Wrapper


class EveryN(Wrapper):
    """Asks the inner weighting at every ``n``-th step and holds its weights in between.

    Args:
        n: steps between two measurements, at least 1.
    """

    held: Tensor
    use = "Gradients that are expensive to measure (heavy heads, parameters as anchor)."
    citation = "folklore"

    def __init__(self, inner: Weighting, n: int = 10) -> None:
        super().__init__(inner)
        require(n >= 1, "`n` must be at least 1", f"n={n}")
        self.n = n

    def needs_at(self, step: int) -> Need:
        return self.inner.needs_at(step) if step % self.n == 0 else Need.VALUES

    def allocate(self, size: int) -> None:
        self.add_state("held", torch.ones(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        return self.inner(signals) if signals.step % self.n == 0 else self.held.clone()

    def update(self, signals: Signals) -> None:
        if signals.step % self.n == 0:
            self.held.copy_(self.inner(signals))
            super().update(signals)
