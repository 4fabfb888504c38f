"""Equal weights: the plain sum."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Equal(Weighting):
    """Gives every loss the weight 1: ``total = sum_k L_k``, the baseline that others must beat.

    >>> import torch
    >>> Equal().bind(["a", "b"])(Signals(("a", "b"), torch.ones(2), torch.ones(2).bool()))
    tensor([1., 1.])
    """

    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    use = "Losses of similar scale, and as the baseline of every comparison."
    avoid = "One loss is orders of magnitude larger than another that matters as much."
    citation = "folklore"

    def forward(self, signals: Signals) -> Tensor:
        return signals.values.new_ones(len(signals.names))
