"""Weights of one over the running mean."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss import Interval, Signals, Weighting, require


class InverseMean(Weighting):
    """Weights each loss by one over its running mean, so that all weighted losses are about equal; the sum is K.

    Args:
        decay: share of the old mean that is kept at each step, in [0, 1).
    """

    mean: Tensor
    positive = True
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    search_space = {"decay": Interval(0.5, 0.99)}
    use = "Losses of unlike scale that matter alike; costs nothing."
    avoid = "A loss goes to 0: it takes all the weight."
    citation = "folklore"

    def __init__(self, decay: float = 0.9) -> None:
        super().__init__()
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.decay = decay

    def allocate(self, size: int) -> None:
        # axes=1: the rows are losses, and a loss that is absent from a batch keeps its row.
        self.add_state("mean", torch.full((size,), torch.nan), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        return signals.sum_to_count(1 / self._after(signals).clamp(min=1e-30))

    def update(self, signals: Signals) -> None:
        self.mean.copy_(self._after(signals))

    def _after(self, signals: Signals) -> Tensor:
        moved = self.mean.lerp(signals.values, 1 - self.decay)
        return torch.where(self.mean.isnan(), signals.values, moved)
