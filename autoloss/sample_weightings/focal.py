"""Focal reweighting."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Interval


class Focal(SampleWeighting):
    """Weighs well classified samples down: ``w_i = (1 - p_i)^gamma`` with ``p_i = exp(-l_i)``.

    For a cross-entropy ``p_i`` is the probability of the true class (sec. 3.2). Here the weight is a constant for
    the gradient, whereas the focal loss differentiates it too (``losses.x=focal`` is that loss). Losses below 0
    count as 0. Weights are not normalised, as in the paper, whose detector divides by the number of objects.

    Args:
        gamma: at least 0; 0 gives uniform weights.
    """

    claims = frozenset({"non_decreasing", "at_most_one"})
    search_space = {"gamma": Interval(0.5, 5.0)}
    use = "Most samples are easy and outweigh the few hard ones: dense detection, strong imbalance."
    avoid = "Labels are noisy: wrong ones are the hardest. The loss is not a negative log-likelihood."
    citation = "Lin, Goyal, Girshick, He, Dollar: Focal loss for dense object detection, ICCV 2017, arXiv:1708.02002"

    def __init__(self, gamma: float = 2.0) -> None:
        super().__init__()
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        self.gamma = gamma

    def forward(self, samples: Samples) -> Tensor:
        missed = -torch.expm1(-samples.losses.clamp(min=0))
        return missed**self.gamma
