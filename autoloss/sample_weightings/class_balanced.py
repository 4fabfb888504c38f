"""Weights by the effective number of a class's samples."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Choice


class ClassBalanced(SampleWeighting):
    """Weighs each sample by its class: ``w_c`` proportional to ``(1 - beta) / (1 - beta^n_c)`` (eq. 8).

    The weights of the classes seen so far sum to their number, as in the paper. ``n_c`` is counted while training:
    a class's share of the samples seen, times the size of the training data (or the number seen, where that
    size is not known), so that it needs no pass over the data and follows a drift.

    Args:
        beta: in [0, 1): 0 gives uniform weights, 1 - 1 / n nearly the inverse of the frequency.
        classes: an upper bound on their number.
    """

    counts: Tensor
    needs = SampleNeed.LOSSES | SampleNeed.LABELS
    search_space = {"beta": Choice((0.9, 0.99, 0.999, 0.9999))}
    use = "A few classes have most of the samples, and all classes matter equally."
    avoid = "Classes are balanced; rare classes are mostly wrong labels."
    citation = "Cui, Jia, Lin, Song, Belongie: Class-balanced loss, CVPR 2019, arXiv:1901.05555"

    def __init__(self, beta: float = 0.999, classes: int = 1000) -> None:
        super().__init__()
        require(0 <= beta < 1, "`beta` must lie in [0, 1)", f"beta={beta}")
        require(2 <= classes <= 10**8, "`classes` must lie between 2 and 1e8", f"classes={classes}")
        self.beta, self.classes = beta, classes

    def allocate(self, size: int) -> None:
        self.add_state("counts", torch.zeros(self.classes))

    def forward(self, samples: Samples) -> Tensor:
        counts = self._with(samples)
        total = counts.sum().clamp(min=1)
        numbers = counts / total * self.size if self.size else counts
        # -expm1(n log beta) = 1 - beta^n without cancellation; below one sample a class counts as one. The logarithm is
        # float64's: in float32 a beta near 1 is 1.
        effective = -torch.expm1(numbers.clamp(min=1) * (math.log(self.beta) if self.beta else -math.inf))
        inverse = torch.where(counts > 0, (1 - self.beta) / effective, 0.0)
        weights = inverse * ((counts > 0).sum() / inverse.sum().clamp(min=1e-30))
        return weights[samples.labels.clamp(max=self.classes - 1)]

    def update(self, samples: Samples) -> None:
        self.counts.copy_(self._with(samples))

    def _with(self, samples: Samples) -> Tensor:
        labels = samples.labels
        if labels.device.type == "cpu" and len(labels) and int(labels.max()) >= self.classes:
            raise ConfigError(
                f"A label must be below `classes`, {self.classes}, but one is {int(labels.max())}. "
                "Raise sample_weighting.classes."
            )
        return self.counts.index_add(0, labels.clamp(max=self.classes - 1), samples.present.float())
