"""Every sample counts equally."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples


class Uniform(SampleWeighting):
    """Weighs every sample with 1: the plain mean of the losses. It costs nothing and is not recorded."""

    claims = frozenset({"non_increasing", "non_decreasing", "at_most_one", "mean_one", "scale_invariant"})
    use = "Always first: every other rule is compared with it."
    avoid = "Many labels are wrong, or a few classes hold most of the data."
    citation = "folklore"

    def forward(self, samples: Samples) -> Tensor:
        return samples.losses.new_ones(len(samples.losses))
