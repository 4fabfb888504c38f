"""Weights of samples that cap what an outlier counts for."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss import Interval, Samples, SampleWeighting, require


class Winsor(SampleWeighting):
    """Caps what a sample counts for at ``factor`` times the moving mean loss m: ``w_i = min(1, factor m / l_i)``.

    Args:
        factor: above 0.
        decay: of the moving mean over steps, in [0, 1).
    """

    mean: Tensor
    claims = frozenset({"non_increasing", "at_most_one"})
    search_space = {"factor": Interval(1.0, 5.0)}
    use = "A few samples with losses far above all others, which are not worth what they cost."
    avoid = "The largest losses are the ones that matter."
    citation = "folklore (Winsorising)"

    def __init__(self, factor: float = 2.0, decay: float = 0.9) -> None:
        super().__init__()
        require(factor > 0, "`factor` must be above 0", f"factor={factor}")
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.factor, self.decay = factor, decay

    def allocate(self, size: int) -> None:
        self.add_state("mean", torch.tensor(torch.nan))

    def forward(self, samples: Samples) -> Tensor:
        return (self.factor * self._after(samples) / samples.losses.clamp(min=1e-20)).clamp(0, 1)

    def update(self, samples: Samples) -> None:
        self.mean.copy_(self._after(samples))

    def _after(self, samples: Samples) -> Tensor:
        now = samples.mean(samples.losses)
        return torch.where(self.mean.isnan(), now, self.mean.lerp(now, 1 - self.decay))
