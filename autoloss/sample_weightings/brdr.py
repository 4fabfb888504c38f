"""Balanced residual decay rate."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.samples import Samples
from autoloss.core.space import Choice
from autoloss.sample_weightings._points import SQUARABLE, PointWeighting


class Brdr(PointWeighting):
    """Weighs each point by how slowly its residual decays: ``w_i <- b w_i + (1 - b) c_i / mean_j c_j``.

    ``c_i = r_i^2 / sqrt(mean of r_i^4 over time)`` is 1 for a residual that stands still and smaller the faster it
    falls. Weights start at 1, have a mean of about 1 and are bounded. A point that is seen every k-th
    step forgets with ``b^k``, as in the authors' code.

    Args:
        decay: of the mean of r^4 over time, in [0, 1).
        smoothing: b, in [0, 1).

    The paper also multiplies all losses by one number, to train near the largest stable learning rate, and takes the
    mean of c over the points of all terms; here it is that of the term, and scale is left to the learning rate and
    the weighting. Each rank takes the mean over its own points. The loss must be a squared residual.
    """

    weights: Tensor
    fourth: Tensor
    mass: Tensor
    last: Tensor
    claims = frozenset({"scale_invariant"})
    search_space = {"decay": Choice((0.99, 0.999, 0.9999)), "smoothing": Choice((0.99, 0.999, 0.9999))}
    use = "Physics-informed networks and operators in which some points converge much more slowly than others."
    avoid = "Points are drawn anew in each step; residuals oscillate and do not decay; targets are noisy."
    citation = "Chen, Howard, Stinis: Balanced residual decay rate, JCP 2025, arXiv:2407.01613"

    def __init__(self, decay: float = 0.999, smoothing: float = 0.999) -> None:
        super().__init__()
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        require(0 <= smoothing < 1, "`smoothing` must lie in [0, 1)", f"smoothing={smoothing}")
        self.decay, self.smoothing = decay, smoothing

    def allocate(self, size: int) -> None:
        self.add_state("weights", torch.ones(size))
        self.add_state("fourth", torch.zeros(size))
        self.add_state("mass", torch.zeros(size))  # what the mean over time would be if every number were 1
        self.add_state("last", torch.full((size,), -1.0))

    def forward(self, samples: Samples) -> Tensor:
        return self.weights[samples.index]

    def update(self, samples: Samples) -> None:
        rows, squared = samples.index, samples.losses.clamp(0, SQUARABLE)
        passed = (samples.step - self.last[rows]).clamp(min=1)
        fourth = squared.square().lerp(self.fourth[rows], self.decay**passed)
        mass = 1 - (1 - self.mass[rows]) * self.decay**passed
        tiny = torch.finfo(squared.dtype).tiny
        speed = squared / (fourth / mass).sqrt().clamp(min=tiny)
        mean = samples.mean(speed)
        aim = torch.where(mean > 0, speed / mean.clamp(min=tiny), 1.0)
        weights = aim.lerp(self.weights[rows], self.smoothing**passed)
        for state, values in ((self.weights, weights), (self.fourth, fourth), (self.mass, mass)):
            self.write(state, samples, values)
        self.write(self.last, samples, torch.full_like(squared, float(samples.step)))
