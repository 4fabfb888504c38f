"""Smooths weights over steps."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting, Wrapper


class Ema(Wrapper):
    """Averages the inner weights exponentially: ``w_t = d w_{t-1} + (1 - d) inner_t``, from ``w_0 = inner_0``.

    Around a gradient method this is CR-MOGM.

    Args:
        decay: d, in [0, 1); 0 changes nothing.
    """

    average: Tensor
    use = "A weighting that jumps from batch to batch (mgda, cagrad, rlw)."
    citation = "Zhou et al.: On the convergence of stochastic multi-objective gradient manipulation, NeurIPS 2022"

    def __init__(self, inner: Weighting, decay: float = 0.9) -> None:
        super().__init__(inner)
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.decay = decay

    def allocate(self, size: int) -> None:
        self.add_state("average", torch.full((size,), torch.nan), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        weights = self.inner(signals)
        return torch.where(self.average.isnan(), weights, self.average.lerp(weights, 1 - self.decay))

    def update(self, signals: Signals) -> None:
        self.average.copy_(self(signals))
        super().update(signals)
