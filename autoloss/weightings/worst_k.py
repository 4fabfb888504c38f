"""The mean of the k largest losses."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class WorstK(Weighting):
    """Weighs the k largest losses alike, and the others not at all: ``w_j = n / k`` for the k largest of n losses.

    The total is n times the mean of the k largest losses: a conditional value at risk over losses, between the largest
    loss alone (k = 1) and the mean of all (k = n). The weights sum to the number of present losses. Of equal losses at
    the border all share alike.

    Args:
        k: how many losses count, at least 1; with fewer present losses, all do.

    The paper takes the largest losses among samples (here ``sample_weighting=top_k``); this is the same over losses,
    such as those of groups (``losses.task.by=domain``).
    """

    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    use = "Groups or tasks of similar scale, of which the worst few count."
    avoid = "Losses of unlike scale: the same are always the largest. Few samples a batch: noise says which is worst."
    citation = "Fan, Lyu, Ying, Hu: Learning with average top-k loss, NeurIPS 2017, arXiv:1705.08826"

    def __init__(self, k: int = 1) -> None:
        super().__init__()
        require(k >= 1, "`k` must be at least 1", f"k={k}")
        self.k = k

    def forward(self, signals: Signals) -> Tensor:
        values = signals.values.masked_fill(~signals.present, -torch.inf)
        border = values.sort(descending=True).values[min(self.k, len(values)) - 1]
        above, at = values > border, (values == border) & signals.present
        # Those at the border share the places that those above it leave.
        left = (self.k - above.sum()).clamp(min=0)
        shared = torch.minimum(left / at.sum().clamp(min=1), torch.ones_like(border))
        return signals.sum_to_count(above.to(values.dtype) + at.to(values.dtype) * shared)
