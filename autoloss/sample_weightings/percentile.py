"""MentorNet's predefined curriculum."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.samples import Samples
from autoloss.core.space import Interval
from autoloss.sample_weightings._level import Levelled


class Percentile(Levelled):
    """Leaves out losses above a moving percentile: ``w_i = 1[l_i <= q]``, q the moving ``p``-quantile.

    With ``slope`` s above 0 weights fall linearly instead, ``w_i = clip(1 - (l_i - q) / (s q), 0, 1)`` (eq. 4, whose
    lambda_2 is s q here, so that the losses' unit does not matter). The quantile is of the batch, averaged over
    steps. The authors' code also drops examples at random by a schedule, which is left out here.

    Args:
        p: the share of samples that keep their full weight, in (0, 1].
        decay: of the moving average, in [0, 1); 0.5 in the authors' code.
        burn_in: epochs at the beginning with uniform weights.
        slope: at least 0.
    """

    claims = frozenset({"non_increasing", "at_most_one", "scale_invariant"})
    search_space = {"p": Interval(0.3, 0.95)}
    use = "Noisy labels; batches of different quality, each of which should lose its samples above the common level."
    avoid = "Labels are clean, or rare classes are hard: those are left out."
    citation = "Jiang, Zhou, Leung, Li, Fei-Fei: MentorNet, ICML 2018, arXiv:1712.05055"

    def __init__(self, p: float = 0.7, decay: float = 0.5, burn_in: int = 0, slope: float = 0.0) -> None:
        super().__init__(decay)
        require(0 < p <= 1, "`p` must lie in (0, 1]", f"p={p}")
        require(burn_in >= 0, "`burn_in` must be at least 0", f"burn_in={burn_in}")
        require(slope >= 0, "`slope` must be at least 0", f"slope={slope}")
        self.follows = frozenset({"epoch"} if burn_in else ())
        self.p, self.burn_in, self.slope = p, burn_in, slope

    def now(self, samples: Samples) -> Tensor:
        return samples.quantile(self.p)

    def forward(self, samples: Samples) -> Tensor:
        if samples.epoch < self.burn_in:
            return torch.ones_like(samples.losses)
        level = self.level(samples)
        # The sample at the quantile is kept, also where rounding puts it above.
        excess = samples.losses - level - 1e-5 * level.abs()
        if self.slope == 0:
            return (excess <= 0).float()
        return (1 - excess / (self.slope * level.abs()).clamp(min=1e-30)).clamp(0, 1)
