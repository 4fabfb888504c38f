"""Poisson's equation with a narrow peak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.problem import Term
from autoloss.problems._field import Field
from autoloss.problems._physics import Physics, grid
from autoloss.problems._tensors import Batch


class Poisson(Physics):
    """Solves ``u_xx + u_yy = f`` on [-1, 1]^2 with u given at the edge, by a physics-informed network.

    ``f`` and the edge are such that ``u = exp(-((x - 0.5)^2 + (y - 0.5)^2) / (2 width^2)) + (x^2 - y^2) / 2``: the
    equation alone knows the peak, and the edge alone knows the rest, for which ``f`` is 0. Losses: ``residual`` and
    ``boundary``. Metric: relative L2 error, on 99 x 99 points (val) and 100 x 100 others (test).

    Args:
        width: of the peak, above 0; the narrower it is, the larger are the residual's gradients.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high, walls = (-1.0, -1.0), (1.0, 1.0), (0, 1)
    terms = {"residual": "mse", "boundary": "mse"}
    use = "Two losses of which each knows one half of the solution."
    avoid = "Losses should share samples: here they share none, and the anchor is the parameters."
    citation = "a manufactured solution, as is usual in tests of solvers; this one is ours"

    def __init__(self, width: float = 0.15, hidden: Sequence[int] = [50, 50, 50], points: int | str = 12800) -> None:
        super().__init__(hidden, points)
        require(width > 0, "`width` must be above 0", f"width={width}")
        self.width = width

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        interior, boundary = batch["interior"], batch["boundary"]
        return {
            "residual": Term(network.jet(interior).second.sum(0), self._source(interior)),
            "boundary": Term(network(boundary), self._field(boundary)),
        }

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        found = {}
        # As in the Klein-Gordon problem: the grid of val leaves out the ends, which the grid of test has.
        for split, (count, inset) in {"val": (99, 0.01), "test": (100, 0.0)}.items():
            points = grid([inset - 1, inset - 1], [1 - inset, 1 - inset], count)
            found[split] = points, self._field(points)
        return found

    def _field(self, points: Tensor) -> Tensor:
        x, y = points.unbind(1)
        return self._peak(points) + (x**2 - y**2) / 2

    def _peak(self, points: Tensor) -> Tensor:
        return torch.exp(-(points - 0.5).square().sum(1) / (2 * self.width**2))

    def _source(self, points: Tensor) -> Tensor:
        distance = (points - 0.5).square().sum(1) / self.width**2
        return self._peak(points) * (distance - 2) / self.width**2
