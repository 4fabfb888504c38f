"""The Navier-Stokes equations of a steady flow behind a grid (Kovasznay)."""

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


class NavierStokes(Physics):
    """Solves the steady, incompressible flow of Kovasznay on [-0.5, 1] x [-0.5, 1.5] by a physics-informed network.

    The network gives velocity (u, v) and pressure p. Losses: ``momentum_x``, ``momentum_y``, ``continuity`` and
    ``boundary`` (u and v at the edge; the pressure is known from the equations, up to a constant). The exact solution
    is ``u = 1 - e^(s x) cos(2 pi y)``, ``v = s / (2 pi) e^(s x) sin(2 pi y)``, with
    ``s = R / 2 - sqrt(R^2 / 4 + 4 pi^2)``. Metric: relative L2 error of the velocity, on 99 x 99 points (val) and
    100 x 100 others (test).

    Args:
        reynolds: R, the Reynolds number, above 0.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high, walls = (-0.5, -0.5), (1.0, 1.5), (0, 1)
    terms = {"momentum_x": "mse", "momentum_y": "mse", "continuity": "mse", "boundary": "mse"}
    use = "Four losses of one system of equations."
    avoid = "Losses should share samples: the boundary has points of its own, and the anchor is the parameters."
    citation = "Kovasznay, 1948, doi:10.1017/S0305004100023999"

    def __init__(
        self, reynolds: float = 40.0, hidden: Sequence[int] = [50, 50, 50, 50], points: int | str = 12800
    ) -> None:
        super().__init__(hidden, points)
        require(reynolds > 0, "`reynolds` must be above 0", f"reynolds={reynolds}")
        self.reynolds = reynolds
        self.rate = reynolds / 2 - math.sqrt(reynolds**2 / 4 + 4 * math.pi**2)

    def network(self) -> Field:
        return Field(self.low, self.high, self.hidden, outputs=3)

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        jet, edge = network.jet(batch["interior"]), network(batch["boundary"])
        velocity, (along_x, along_y) = jet.value[:, :2], jet.first
        carried = velocity[:, :1] * along_x[:, :2] + velocity[:, 1:] * along_y[:, :2]
        pressure = torch.stack([along_x[:, 2], along_y[:, 2]], dim=1)
        momentum = carried + pressure - jet.second.sum(0)[:, :2] / self.reynolds
        continuity = along_x[:, 0] + along_y[:, 1]
        return {
            "momentum_x": Term(momentum[:, 0], torch.zeros_like(momentum[:, 0])),
            "momentum_y": Term(momentum[:, 1], torch.zeros_like(momentum[:, 1])),
            "continuity": Term(continuity, torch.zeros_like(continuity)),
            "boundary": Term(edge[:, :2], self._field(batch["boundary"])[:, :2]),
        }

    def known(self, field: Tensor) -> Tensor:
        """The velocity; the pressure has a constant that nothing fixes."""
        return field[:, :2]

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        found = {}
        # As in the Klein-Gordon problem: the grid of val leaves out the ends, which the grid of test has.
        for split, (count, inset) in {"val": (99, 0.01), "test": (100, 0.0)}.items():
            ends = [a + inset for a in self.low], [b - inset for b in self.high]
            points = grid(*ends, count)
            found[split] = points, self._field(points)[:, :2]
        return found

    def _field(self, points: Tensor) -> Tensor:
        """Velocity and pressure [N, 3]."""
        x, y = points.unbind(1)
        decay, angle = torch.exp(self.rate * x), 2 * math.pi * y
        u = 1 - decay * torch.cos(angle)
        v = self.rate / (2 * math.pi) * decay * torch.sin(angle)
        return torch.stack([u, v, (1 - decay**2) / 2], dim=1)
