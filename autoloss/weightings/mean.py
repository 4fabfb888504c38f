"""The mean of the losses."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Mean(Weighting):
    """Gives every loss the weight ``1 / K`` (K the number of present losses): ``total = mean_k L_k``.

    Under SGD this is equal weights at a K-th of the learning rate; under Adam it is the same.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    use = "Comparing with code that averages its losses."
    avoid = "You compare with methods whose weights sum to K under SGD: the learning rate differs by K."
    citation = "folklore"

    def forward(self, signals: Signals) -> Tensor:
        return signals.values.new_ones(len(signals.names)) / signals.count
