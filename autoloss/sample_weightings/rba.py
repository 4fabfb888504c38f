"""Residual-based attention, and its variational form."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require, unknown
from autoloss.core.samples import Samples
from autoloss.core.space import Choice, Interval
from autoloss.sample_weightings._points import PointWeighting, relative, residuals

POTENTIALS = ("quadratic", "exponential")


class Rba(PointWeighting):
    """Weighs each point by what its residual was: ``w_i = a_i^2``, ``a_i <- gamma a_i + eta q_i``.

    - ``quadratic``: ``q_i = |r_i| / max_j |r_j|``, residual-based attention. Of the variational form it is
      the potential that lowers the variance of the loss.
    - ``exponential``: ``q_i = exp((|r_i| - max_j |r_j|) / e)`` with ``e = sharpness max_j |r_j| / log(t + 2)``, t the
      step: the potential that aims at the largest residual, and more so the longer training lasts (vRBA).

    ``a`` multiplies the residual, hence the square for the loss, which must be a squared residual. It stays below
    ``eta / (1 - gamma)`` (10), and what a point was is forgotten in 1 / (1 - gamma) of its visits. The maximum is that
    of the batch.

    Args:
        gamma: what is kept of a, in [0, 1).
        eta: how fast a grows, above 0.
        start: a at first, at least 0: with 0 the other losses are fitted first.
        potential: one of the above.
        sharpness: above 0, for ``exponential``; smaller is sharper.

    Each rank takes the maximum over its own points. The points must be kept: their index must mean the same point in
    each step.
    """

    attention: Tensor
    claims = frozenset({"scale_invariant"})
    search_space = {
        "gamma": Choice((0.99, 0.999, 0.9999)),
        "eta": Interval(1e-3, 0.1, log=True),
        "potential": Choice(POTENTIALS),
    }
    use = "Physics-informed networks whose residual stays large in parts of the domain: fronts, corners, late times."
    avoid = "Points are drawn anew in each step; a point is seen only a few times; targets are noisy measurements."
    citation = (
        "Anagnostopoulos, Toscano, Stergiopulos, Karniadakis: Residual-based attention, CMAME 2024, arXiv:2307.00379; "
        "variational: Toscano, Chen, Oommen, Karniadakis, 2025, arXiv:2509.14198"
    )

    def __init__(
        self,
        gamma: float = 0.999,
        eta: float = 0.01,
        start: float = 0.0,
        potential: str = "quadratic",
        sharpness: float = 1.0,
    ) -> None:
        super().__init__()
        require(0 <= gamma < 1, "`gamma` must lie in [0, 1)", f"gamma={gamma}")
        require(eta > 0, "`eta` must be above 0", f"eta={eta}")
        require(start >= 0, "`start` must be at least 0", f"start={start}")
        require(sharpness > 0, "`sharpness` must be above 0", f"sharpness={sharpness}")
        if potential not in POTENTIALS:
            raise unknown("potential of residual-based attention", potential, POTENTIALS)
        self.gamma, self.eta, self.start = gamma, eta, start
        self.potential, self.sharpness = potential, sharpness

    def allocate(self, size: int) -> None:
        self.add_state("attention", torch.full((size,), float(self.start)))

    def forward(self, samples: Samples) -> Tensor:
        return self.remember(samples, self._moved).square()

    def update(self, samples: Samples) -> None:
        self.write(self.attention, samples, self.recall(samples, self._moved))

    def _moved(self, samples: Samples) -> Tensor:
        share = relative(residuals(samples))
        if self.potential == "exponential":
            share = torch.exp((share - 1) * (math.log(samples.step + 2) / self.sharpness))
        return self.gamma * self.attention[samples.index] + self.eta * share
