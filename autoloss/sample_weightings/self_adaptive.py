"""Self-adaptive weights of points: the network descends, the weights ascend."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.samples import Samples
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.sample_weightings._points import SQUARABLE, PointWeighting


class SelfAdaptive(PointWeighting):
    """Weighs each point with ``w_i = lambda_i^power``, where lambda_i climbs ``w_i l_i``.

    Network and weights play min max: a weight grows as long as its point has a residual, and never falls.
    The ascent is an Adam of the rule's own, in the state of the points that the batch holds, so that it has the right
    sign whatever the network's optimiser is.

    Args:
        lr: learning rate of the weights, above 0; the authors' code has 0.005.
        power: of the mask ``m(lambda) = lambda^power``, at least 1; 2 in the authors' code.
        start: lambda at first, above 0.
        most: the largest lambda, above 0.

    Departs from the paper: lambda starts at one number and not at random ones, and it has an upper bound, without
    which the loss's scale has none. Adam takes nearly the same step for points of steadily large and small residuals:
    what tells them apart is how the residual changes.
    """

    multiplier: Tensor
    search_space = {"lr": Interval(1e-4, 0.1, log=True)}
    use = "Physics-informed networks with stiff parts, trained with all points in each step."
    avoid = "Points are drawn anew in each step; training is long and most residuals never reach 0."
    citation = "McClenny, Braga-Neto: Self-adaptive physics-informed neural networks, JCP 2023, arXiv:2009.04544"

    def __init__(self, lr: float = 0.005, power: float = 2.0, start: float = 1.0, most: float = 1000.0) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(power >= 1, "`power` must be at least 1", f"power={power}")
        require(0 < start <= most, "`start` must be above 0 and at most `most`", f"start={start}, most={most}")
        self.power, self.start, self.most = power, start, most
        self.adam = AdamState(lr)

    def allocate(self, size: int) -> None:
        self.add_state("multiplier", torch.full((size,), float(self.start)))
        self.adam.allocate(size, axes=0)

    def forward(self, samples: Samples) -> Tensor:
        return self.multiplier[samples.index] ** self.power

    def update(self, samples: Samples) -> None:
        # A point that is not in the batch takes no step, and its moments stay.
        state = (self.multiplier, self.adam.first_moment, self.adam.second_moment, self.adam.steps)
        value, *moments = (one[samples.index] for one in state)
        losses = samples.losses.clamp(-SQUARABLE, SQUARABLE)
        slope = self.power * value ** (self.power - 1) * losses
        self.adam.advance(value, -slope, *moments)
        for one, moved in zip(state, (value.clamp(0, self.most), *moments), strict=True):
            self.write(one, samples, moved)
