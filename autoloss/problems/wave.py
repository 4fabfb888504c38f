"""The wave equation with two waves of different frequency."""

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


class Wave(Physics):
    """Solves ``u_tt = c^2 u_xx`` for x and t in [0, 1], u = 0 at both ends, by a physics-informed network.

    The initial state is such that ``u = sin(pi x) cos(c pi t) + sin(w pi x) cos(w c pi t) / 2``. Losses: ``residual``,
    ``boundary``, ``initial`` (u), ``speed`` (u_t at the start). With equal weights training fails: the residual's
    gradients hide the others', and the fast wave is never found. Points are (x, t). Metric: relative L2 error, on
    99 x 99 points (val) and 100 x 100 others (test).

    Args:
        speed: c, above 0.
        frequency: w, a whole number of at least 1.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high = (0.0, 0.0), (1.0, 1.0)
    terms = {"residual": "mse", "boundary": "mse", "initial": "mse", "speed": "mse"}
    use = "Four losses of which one hides the others: a case in which equal weights fail."
    avoid = "Losses should share samples: here they share none, and the anchor is the parameters."
    citation = "Wang, Yu, Perdikaris, JCP 2022, arXiv:2007.14527, section 7.2"

    def __init__(
        self, speed: float = 2.0, frequency: int = 4, hidden: Sequence[int] = [100, 100, 100], points: int | str = 12800
    ) -> None:
        super().__init__(hidden, points)
        require(speed > 0, "`speed` must be above 0", f"speed={speed}")
        whole = isinstance(frequency, int) and not isinstance(frequency, bool) and frequency >= 1
        require(whole, "`frequency` must be a whole number of at least 1", f"frequency={frequency}")
        self.speed, self.frequency = speed, frequency

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        (u_xx, u_tt), edge = network.jet(batch["interior"]).second, network(batch["boundary"])
        begin, slopes = network.slopes(batch["initial"])
        residual = u_tt - self.speed**2 * u_xx
        return {
            "residual": Term(residual, torch.zeros_like(residual)),
            "boundary": Term(edge, torch.zeros_like(edge)),
            "initial": Term(begin, self._field(batch["initial"])),
            "speed": Term(slopes[1], torch.zeros_like(slopes[1])),
        }

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        found = {}
        # As in the Klein-Gordon problem: the grid of val leaves out the ends, which the grid of test has.
        for split, (count, inset) in {"val": (99, 0.005), "test": (100, 0.0)}.items():
            points = grid([inset, inset], [1 - inset, 1 - inset], count)
            found[split] = points, self._field(points)
        return found

    def _field(self, points: Tensor) -> Tensor:
        x, t = (math.pi * axis for axis in points.unbind(1))
        c, w = self.speed, self.frequency
        return torch.sin(x) * torch.cos(c * t) + torch.sin(w * x) * torch.cos(w * c * t) / 2
