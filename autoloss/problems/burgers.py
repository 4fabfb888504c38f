"""Burgers' equation, whose solution steepens into a shock."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.problem import Term
from autoloss.problems._field import Field
from autoloss.problems._physics import Physics
from autoloss.problems._tensors import Batch

FILE, KEYS = "burgers_shock.mat", ("x", "t", "usol")


class Burgers(Physics):
    """Solves ``u_t + u u_x = nu u_xx`` for x in [-1, 1], t in [0, 1] by a physics-informed network.

    u = -sin(pi x) at t = 0, u = 0 at both ends. Losses: ``residual``, ``boundary``, ``initial``. Points are (x, t).
    Metric: relative L2 error against a reference solution; of its points one half is for val and the other for test.

    Args:
        data: the reference solution: ``burgers_shock.mat`` of github.com/maziarraissi/PINNs (x, t, usol), or the
            directory where it lies.
        viscosity: nu, above 0; the reference's is 0.01 / pi.
        hidden: widths of the tanh layers.
        points: training points, at least 1 (of each loss). They are kept; ``resampled`` or ``resampled:512``: new ones
            in each batch, so many in an epoch.
    """

    low, high = (-1.0, 0.0), (1.0, 1.0)
    use = "Losses whose gradients are largest at a shock; you need the file of the reference solution."
    avoid = "Losses should share samples: here they share none, and the anchor is the parameters."
    citation = "Raissi, Perdikaris, Karniadakis, JCP 2019, arXiv:1711.10561"

    def __init__(
        self,
        data: str,
        viscosity: float = 0.003183098861837907,
        hidden: Sequence[int] = [50, 50, 50, 50],
        points: int | str = 12800,
    ) -> None:
        super().__init__(hidden, points)
        require(viscosity > 0, "`viscosity` must be above 0", f"viscosity={viscosity}")
        self.viscosity = viscosity
        self.reference = _read(Path(data))

    def equations(self, network: Field, batch: Batch) -> Mapping[str, Term]:
        jet, edge = network.jet(batch["interior"]), network(batch["boundary"])
        (u_x, u_t), u_xx = jet.first, jet.second[0]
        residual = u_t + jet.value * u_x - self.viscosity * u_xx
        return {
            "residual": Term(residual, torch.zeros_like(residual)),
            "boundary": Term(edge, torch.zeros_like(edge)),
            "initial": Term(network(batch["initial"]), -torch.sin(math.pi * batch["initial"][:, 0])),
        }

    def solutions(self) -> Mapping[str, tuple[Tensor, Tensor]]:
        points, solution = self.reference
        val, test = torch.randperm(len(points), generator=torch.Generator().manual_seed(0)).tensor_split(2)
        return {"val": (points[val], solution[val]), "test": (points[test], solution[test])}


def _read(place: Path) -> tuple[Tensor, Tensor]:
    """The points [N, 2] and the solution [N] in the file ``place``, or in that of the usual name under it."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    path = place / FILE if place.is_dir() else place
    rule = "problem.data must be Burgers' reference solution"
    advice = f"Give {FILE} of github.com/maziarraissi/PINNs, or the directory where it lies."
    require(path.is_file(), rule, f"there is no file {str(path)!r}", advice)
    try:
        found = loadmat(path, variable_names=KEYS)
    except (MatReadError, ValueError, TypeError, NotImplementedError, OSError) as error:
        raise ConfigError(f"{rule}, but {str(path)!r} is no MATLAB file. {advice}") from error
    missing = [key for key in KEYS if key not in found]
    require(not missing, rule, f"{str(path)!r} holds no {', '.join(missing)}", advice)
    x, t = (torch.from_numpy(found[key].astype("float64")).flatten() for key in ("x", "t"))
    solution = torch.from_numpy(found["usol"].astype("float64"))
    expected, shape = [len(x), len(t)], list(solution.shape)
    require(shape == expected, "usol must have a row for each x and a column for each t", f"it is {shape}", advice)
    return torch.cartesian_prod(x, t), solution.flatten()
