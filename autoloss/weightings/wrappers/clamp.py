"""Keeps weights within bounds."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.registry.parameters import Unbounded
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting, Wrapper


class Clamp(Wrapper):
    """Clamps each weight of the inner weighting to [``low``, ``high``]; the sum is not restored.

    Args:
        low: the least weight, at least 0.
        high: the largest weight, at least ``low``; ``inf`` for no bound.
    """

    use = "A weighting whose weights may grow without bound or vanish (uncertainty, uw_o)."
    citation = "folklore"

    def __init__(self, inner: Weighting, low: float = 0.0, high: Unbounded = 100.0) -> None:
        super().__init__(inner)
        require(0 <= low <= high, "0 <= low <= high must hold", f"low={low}, high={high}")
        self.low, self.high = low, high

    def forward(self, signals: Signals) -> Tensor:
        return self.inner(signals).clamp(self.low, self.high)
