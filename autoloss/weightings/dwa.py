"""Dynamic weight average."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.weighting import Weighting


class Dwa(Weighting):
    """Weights each loss by how slowly its mean fell from one period to the next.

    ``w = K softmax(r / T)`` with ``r_k = mean L_k(t-1) / mean L_k(t-2)`` (eq. 7). A period is an
    epoch, or ``window`` optimiser steps; in the first two the weights are 1. The sum is K. A loss that is absent has
    periods of its own: t-1 and t-2 are the last two in which it was there.

    Args:
        temperature: T, above 0; larger is more even.
        window: steps that make a period; 0 for epochs.

    A ratio whose denominator is 0 counts as 1. Means are over optimiser steps.
    """

    period: Tensor
    total: Tensor
    number: Tensor
    latest: Tensor
    earlier: Tensor
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    search_space = {"temperature": Interval(0.5, 10.0, log=True)}
    use = "Losses of similar scale that learn at different speeds; it costs nothing."
    avoid = "Losses have different scales: it sees their relative change only. There are very few epochs."
    citation = "Liu, Johns, Davison: End-to-end multi-task learning with attention, CVPR 2019, arXiv:1803.10704"

    def __init__(self, temperature: float = 2.0, window: int = 0) -> None:
        super().__init__()
        require(temperature > 0, "`temperature` must be above 0", f"temperature={temperature}")
        require(window >= 0, "`window` must be at least 0", f"window={window}")
        self.temperature, self.window = temperature, window
        self.follows = frozenset() if window else frozenset({"epoch"})

    def allocate(self, size: int) -> None:
        # A period for each loss: one that is absent from a period's first step turns when it is back.
        self.add_state("period", torch.zeros(size, dtype=torch.int64), axes=1)
        self.add_state("total", torch.zeros(size), axes=1)
        self.add_state("number", torch.zeros(size), axes=1)
        self.add_state("latest", torch.full((size,), torch.nan), axes=1)
        self.add_state("earlier", torch.full((size,), torch.nan), axes=1)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        period = state_dict.get(f"{prefix}period")
        if period is not None and period.dim() == 0:  # of 0.1.0, which had one for all losses
            state_dict[f"{prefix}period"] = period.expand(len(self.names)).clone()
        super()._load_from_state_dict(state_dict, prefix, *args)

    def forward(self, signals: Signals) -> Tensor:
        latest, earlier, _ = self._turned(signals)
        ratio = latest / earlier
        ratio = torch.where(ratio.isfinite(), ratio, 1.0)
        return signals.count * signals.softmax(ratio / self.temperature)

    def update(self, signals: Signals) -> None:
        latest, earlier, turned = self._turned(signals)
        self.latest.copy_(latest)
        self.earlier.copy_(earlier)
        self.total.copy_(torch.where(turned, 0.0, self.total) + signals.values)
        self.number.copy_(torch.where(turned, 0.0, self.number) + 1)
        self.period.fill_(self._period(signals))

    def _period(self, signals: Signals) -> int:
        return signals.step // self.window if self.window else signals.epoch

    def _turned(self, signals: Signals) -> tuple[Tensor, Tensor, Tensor]:
        """The means of the last two periods as of this step, and whether a period just ended."""
        turned = (self.period != self._period(signals)) & (self.number > 0)
        mean = self.total / self.number
        return torch.where(turned, mean, self.latest), torch.where(turned, self.latest, self.earlier), turned
