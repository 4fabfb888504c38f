"""Makes weights sum to K."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Wrapper


class Normalise(Wrapper):
    """Scales the inner weights to sum to the number of present losses.

    Weights that sum to 0 or less become equal ones, so that the model still learns.
    """

    claims = frozenset({"sums_to_count"})
    use = "Comparing a method with a free scale (uncertainty, nash_mtl) at the learning rate of equal weights."
    citation = "folklore"

    def forward(self, signals: Signals) -> Tensor:
        weights = self.inner(signals)
        weights = weights.where(signals.present, weights.new_zeros(()))
        total = weights.sum()
        return (weights * (signals.count / total)).where(total > 0, weights.new_ones(()))
