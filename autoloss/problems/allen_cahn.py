"""The Allen-Cahn equation, whose solution has fronts that sharpen with time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.problem import Term
from autoloss.problems._field import Field
from autoloss.problems._physics import Physics
from autoloss.problems._tensors import Batch

DIFFUSION, REACTION = 1e-4, 5.0


class AllenCahn(Physics):
    """Solves ``u_t = 0.0001 u_xx + 5 (u - u^3)``, x in [-1, 1], t in [0, 1], by a physics-informed network.

    u = x^2 cos(pi x) at the start; the ends meet, which the network has built in (``periodic``), or which is a loss.
    Losses: ``residual``, ``initial``, and ``boundary`` (u and u_x at both ends) unless the network is periodic. With
    equal weights training stays near a wrong solution: points late in time are fitted before the early ones. Points
    are (x, t). Metric: relative L2 error against a spectral solution, computed once; one half of its points is for
    val and the other for test.

    Args:
        periodic: the number of waves by which the network is periodic in x; 0 makes the ends a loss.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high = (-1.0, 0.0), (1.0, 1.0)
    terms = {"residual": "mse", "initial": "mse"}
    recipe = {
        "optimizer": {"lr": 0.005},
        "batch_size": 512,
        "threads": 1,
        "base": {"initial": 100.0},
        "trainer": {"max_epochs": 2500, "check_val_every_n_epoch": 50},
        "record": {"every": 50},
        "checkpoint": {"every": 100},
    }
    use = "Fronts that form in time: a case in which equal weights of losses and points fail."
    avoid = "Losses should share samples: here they share none, and the anchor is the parameters."
    citation = "Raissi, Perdikaris, Karniadakis, JCP 2019, arXiv:1711.10561; Wang, Sankaran, Perdikaris, 2022, \
arXiv:2203.07404"

    def __init__(self, periodic: int = 5, hidden: Sequence[int] = [32, 32, 32], points: int | str = 4096) -> None:
        super().__init__(hidden, points)
        whole = isinstance(periodic, int) and not isinstance(periodic, bool) and periodic >= 0
        require(whole, "`periodic` must be a whole number of at least 0", f"periodic={periodic}")
        self.periodic = periodic
        if not periodic:
            self.terms = {**self.terms, "boundary": "mse"}

    def network(self) -> Field:
        return Field(self.low, self.high, self.hidden, waves=self.periodic)

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        jet, initial = network.jet(batch["interior"]), batch["initial"]
        residual = jet.first[1] - DIFFUSION * jet.second[0] - REACTION * (jet.value - jet.value**3)
        terms = {
            "residual": Term(residual, torch.zeros_like(residual)),
            "initial": Term(network(initial), start(initial[:, 0])),
        }
        if not self.periodic:
            left, right = (self._end(network, batch["boundary"], side) for side in (-1.0, 1.0))
            terms["boundary"] = Term(left, right)
        return terms

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        x, t, field = spectral()
        points, solution = torch.cartesian_prod(x, t), field.flatten()
        val, test = torch.randperm(len(points), generator=torch.Generator().manual_seed(0)).tensor_split(2)
        return {"val": (points[val], solution[val]), "test": (points[test], solution[test])}

    def _end(self, network: Field, points: Tensor, side: float) -> Tensor:
        """The field and its slope in x [N, 2] at the end ``side``, at the times of ``points``."""
        value, slopes = network.slopes(torch.stack([torch.full_like(points[:, 1], side), points[:, 1]], dim=1))
        return torch.stack([value, slopes[0]], dim=1)


def start(x: Tensor) -> Tensor:
    """The field at t = 0."""
    return x**2 * torch.cos(math.pi * x)


@lru_cache(maxsize=2)
def spectral(modes: int = 1024, steps: int = 1000, every: int = 10) -> tuple[Tensor, Tensor, Tensor]:
    """A reference solution: x [256], t [steps / every + 1], and the field [256, T], float64.

    Strang's splitting: half a step of the reaction, whose solution is known, a step of the diffusion in Fourier space,
    and half a step of the reaction. Its error falls with the square of the step.
    """
    x = -1 + 2 * torch.arange(modes, dtype=torch.float64) / modes
    wave = math.pi * torch.arange(modes // 2 + 1, dtype=torch.float64)
    step = 1 / steps
    decay = torch.exp(-DIFFUSION * wave**2 * step)

    def reacted(u: Tensor) -> Tensor:
        # u' = 5 (u - u^3): u^2 follows a logistic curve.
        grown = math.exp(REACTION * step / 2)
        return u * grown / torch.sqrt(1 + u**2 * (grown**2 - 1))

    field = start(x)
    kept = [field]
    for number in range(1, steps + 1):
        field = reacted(torch.fft.irfft(torch.fft.rfft(reacted(field)) * decay, n=modes))
        if number % every == 0:
            kept.append(field)
    return (
        x[:: modes // 256],
        torch.linspace(0, 1, len(kept), dtype=torch.float64),
        torch.stack(kept, 1)[:: modes // 256],
    )
