"""The Klein-Gordon equation with a cubic term."""

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


class KleinGordon(Physics):
    """Solves ``u_tt - u_xx + u^3 = f`` for x and t in [0, 1] by a physics-informed network.

    ``f`` and the conditions are such that ``u = x cos(w pi t) + (x t)^3``. Losses: ``residual``, ``boundary``
    (u at both ends), ``initial`` (u and u_t, the mean of both squares). Points are (x, t). Metric: relative L2
    error, on 99 x 99 points (val) and 100 x 100 others (test).

    Args:
        frequency: w, above 0.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high = (0.0, 0.0), (1.0, 1.0)
    use = "Three losses with very different gradients, where the weights alone change the error tenfold."
    avoid = "Losses should share samples: here they share none, and the anchor is the parameters."
    citation = "Wang, Teng, Perdikaris, SISC 2021, arXiv:2001.04536, section 4.2"

    def __init__(
        self, frequency: float = 5.0, hidden: Sequence[int] = [50, 50, 50, 50, 50], points: int | str = 12800
    ) -> None:
        super().__init__(hidden, points)
        require(frequency > 0, "`frequency` must be above 0", f"frequency={frequency}")
        self.frequency = frequency

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        interior, boundary, initial = batch["interior"], batch["boundary"], batch["initial"]
        inside, (begin, slopes) = network.jet(interior), network.slopes(initial)
        u_xx, u_tt = inside.second
        return {
            "residual": Term(u_tt - u_xx + inside.value**3, self._force(interior)),
            "boundary": Term(network(boundary), self._field(boundary)),
            "initial": Term(
                torch.stack([begin, slopes[1]], dim=1),
                torch.stack([self._field(initial), torch.zeros_like(begin)], dim=1),
            ),
        }

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        found = {}
        # The grid of val has another number of points, and leaves out the ends, which the grid of test has.
        step = 1 / 200
        for split, (count, inset) in {"val": (99, step), "test": (100, 0.0)}.items():
            points = grid([inset, inset], [1 - inset, 1 - inset], count)
            found[split] = points, self._field(points)
        return found

    def _field(self, points: Tensor) -> Tensor:
        x, t = points.unbind(1)
        return x * torch.cos(self.frequency * math.pi * t) + (x * t) ** 3

    def _force(self, points: Tensor) -> Tensor:
        x, t = points.unbind(1)
        w = self.frequency * math.pi
        u_tt = -(w**2) * x * torch.cos(w * t) + 6 * x**3 * t
        return u_tt - 6 * x * t**3 + self._field(points) ** 3
