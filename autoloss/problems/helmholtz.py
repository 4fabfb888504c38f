"""The Helmholtz equation on a square."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.problem import Term
from autoloss.problems._field import Field
from autoloss.problems._physics import Physics, grid
from autoloss.problems._tensors import Batch


class Helmholtz(Physics):
    """Solves ``u_xx + u_yy + k^2 u = q`` on [-1, 1]^2 with u = 0 at the edge, by a physics-informed network.

    ``q`` is such that ``u = sin(a pi x) sin(b pi y)``. Losses: ``residual`` and ``boundary``, whose gradients
    differ by orders of magnitude. Metric: relative L2 error, on 99 x 99 points (val) and 100 x 100 others (test).

    Args:
        waves: a and b, at least 1: halves of a period along each axis.
        k: wave number, at least 0.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high, walls = (-1.0, -1.0), (1.0, 1.0), (0, 1)
    terms = {"residual": "mse", "boundary": "mse"}
    use = "Two losses with very different gradients, where the weights alone change the error tenfold."
    avoid = "Losses should share samples: here they share none, and the anchor is the parameters."
    citation = "Wang, Teng, Perdikaris, SISC 2021, arXiv:2001.04536, section 4.1"

    def __init__(
        self,
        waves: Sequence[int] = [1, 4],
        k: float = 1.0,
        hidden: Sequence[int] = [50, 50, 50],
        points: int | str = 12800,
    ) -> None:
        super().__init__(hidden, points)
        whole = len(waves) == 2 and all(isinstance(wave, int) and wave >= 1 for wave in waves)
        require(whole, "`waves` must be two whole numbers of at least 1", f"waves={list(waves)}")
        require(k >= 0, "`k` must be at least 0", f"k={k}")
        self.waves, self.k = tuple(waves), k

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        jet, edge = network.jet(batch["interior"]), network(batch["boundary"])
        source = (self.k**2 - math.pi**2 * sum(wave**2 for wave in self.waves)) * self._field(batch["interior"])
        return {
            "residual": Term(jet.second.sum(0) + self.k**2 * jet.value, source),
            "boundary": Term(edge, torch.zeros_like(edge)),
        }

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        found = {}
        for split, count in {"val": 99, "test": 100}.items():
            points = grid(self.low, self.high, count)
            # The two grids share only their corners, where the solution is 0.
            found[split] = points, self._field(points)
        return found

    def _field(self, points: Tensor) -> Tensor:
        a, b = self.waves
        return torch.sin(a * math.pi * points[:, 0]) * torch.sin(b * math.pi * points[:, 1])
