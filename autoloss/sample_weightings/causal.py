"""Causal weights: points later in time count when the earlier ones are fitted."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Choice
from autoloss.core.tensors.constants import constant

LOWEST = -80.0  # of the exponent: no weight is exactly 0 in float32


class Causal(SampleWeighting):
    """Weighs each point by the losses before it: ``w(t) = exp(-e sum of L over the slabs before t)``.

    Time from ``low`` to ``high`` is cut into ``slabs``; L is the mean loss of a slab's points, so that the first slab
    has weight 1 and the last one nearly 0 until all before it are fitted. e rises through ``tolerances``: to the next
    one whenever the last slab's weight exceeds ``threshold``.

    Args:
        key: the data's key of the points' times; any number that orders them.
        low: the smallest time.
        high: the largest time, above ``low``.
        slabs: into how many parts of equal length, at least 2.
        tolerances: values of e, above 0, in rising order. Losses have units: divide by their size at the start.
        threshold: in (0, 1).

    The paper goes through 0.01, 0.1, 1, 10 and 100, each until training has converged. In a shorter training the low
    ones let late points be fitted before the early ones, which the rule is to prevent; so there is one here.
    A slab without points in a batch keeps the loss that it had last (the paper has all points in each step). The paper
    adds the initial condition's loss to the sum; here each term counts its own. Each rank takes the mean over its
    own points.
    """

    level: Tensor
    stage: Tensor
    claims = frozenset({"at_most_one"})
    search_space = {"slabs": Choice((8, 16, 32)), "threshold": Choice((0.95, 0.99))}
    use = "Equations in time that are first order and unstable or chaotic: Allen-Cahn, Kuramoto-Sivashinsky, advection."
    avoid = "Nothing moves in time (steady problems); boundary values at late times must be fitted early."
    citation = "Wang, Sankaran, Perdikaris: Respecting causality is all you need, CMAME 2024, arXiv:2203.07404"

    def __init__(
        self,
        key: str = "time",
        low: float = 0.0,
        high: float = 1.0,
        slabs: int = 16,
        tolerances: Sequence[float] = [100.0],
        threshold: float = 0.99,
    ) -> None:
        super().__init__()
        require(bool(key), "`key` must name a column of the data", f"key={key!r}")
        require(low < high, "`low` must be below `high`", f"low={low}, high={high}")
        require(2 <= slabs <= 10**6, "`slabs` must lie between 2 and 1e6", f"slabs={slabs}")
        rising = len(tolerances) > 0 and list(tolerances) == sorted(tolerances) and tolerances[0] > 0
        require(rising, "`tolerances` must be above 0 and rise", f"tolerances={list(tolerances)}")
        require(0 < threshold < 1, "`threshold` must lie in (0, 1)", f"threshold={threshold}")
        self.column, self.low, self.high, self.slabs = key, low, high, slabs
        self.tolerances, self.threshold = tuple(float(e) for e in tolerances), threshold

    def allocate(self, size: int) -> None:
        self.add_state("level", torch.zeros(self.slabs))
        self.add_state("stage", torch.zeros(()))

    def forward(self, samples: Samples) -> Tensor:
        slab, level = self.remember(samples, self._with)
        return self._weights(level)[slab]

    def update(self, samples: Samples) -> None:
        _, level = self.recall(samples, self._with)
        fitted = self._weights(level)[-1] > self.threshold
        self.level.copy_(level)
        # A batch of nothing says nothing.
        self.stage.add_(fitted & samples.present.any()).clamp_(max=len(self.tolerances) - 1)

    def _weights(self, level: Tensor) -> Tensor:
        tolerance = constant(self.tolerances, level.device).gather(0, self.stage.long().view(1))
        before = torch.cat([level.new_zeros(1), level[:-1].cumsum(0)])
        return torch.exp((-tolerance * before).clamp(min=LOWEST))

    def _with(self, samples: Samples) -> tuple[Tensor, Tensor]:
        """The slab of each sample, [B], and the mean loss of each slab with this batch in it, [slabs]."""
        slab, here = self._slab(samples), samples.present.float()
        number = torch.zeros_like(self.level).index_add(0, slab, here)
        total = torch.zeros_like(self.level).index_add(0, slab, samples.losses.clamp(min=0).where(samples.present, 0.0))
        return slab, torch.where(number > 0, total / number.clamp(min=1), self.level)

    def _slab(self, samples: Samples) -> Tensor:
        time = samples.key(self.column).float()
        share = (time - self.low) / (self.high - self.low)
        if time.device.type == "cpu" and len(time) and not bool(((share >= -1e-6) & (share <= 1 + 1e-6)).all()):
            raise ConfigError(
                f"The key {self.column!r} must lie between `low`, {self.low:g}, and `high`, {self.high:g}, but one is "
                f"{float(time[~((share >= -1e-6) & (share <= 1 + 1e-6))][0]):g}. Set sample_weighting.low and "
                "sample_weighting.high."
            )
        return (share * self.slabs).nan_to_num(0.0).long().clamp(0, self.slabs - 1)
