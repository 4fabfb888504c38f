"""Gradient vaccine."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.weightings.solvers.order import random_order
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared, prepare

# A target cosine of 1 would ask for an infinite correction.
LARGEST = 1 - 1e-3


class Gradvac(GramWeighting):
    """Turns each gradient towards the others until their cosines are what they were on average.

    Each h_i starts as g_i and meets the other gradients in random order: where
    ``c = cos(h_i, g_j)`` lies below the target ``t_ij``,
    ``h_i <- h_i + g_j ||h_i|| / ||g_j|| (t sqrt(1 - c^2) - c sqrt(1 - t^2)) / sqrt(1 - t^2)``
    after which the cosine is t. The gradient is ``sum_i h_i``, so the weights are at least
    1; their sum is not fixed. Every step moves every target:
    ``t_ij <- (1 - beta) t_ij + beta c``. Targets start at 0, where this is PCGrad.

    A target beyond 0.999 counts as 0.999 (and below -0.999 as that), which is not in the paper: at 1 the correction
    would be infinite. Gradients that always agree keep cosines of up to 0.999 then.

    Args:
        beta: how much of the target each step replaces, in [0, 1]; LibMTL and TorchJD have 0.5,
            which follows single batches.
        seed: of the random orders, which depend on the seed and the step alone.

    The whole anchor is one group of parameters. A target that moves only when a correction is made, as
    in one port, can never rise. Waits for the device twice: for the weights and in the update.
    """

    targets: Tensor
    claims = frozenset({"common_scale_invariant"})
    search_space = {"beta": Interval(1e-3, 0.5, log=True)}
    use = "Related losses (languages, domains) whose gradients should agree, which is more than not to conflict."
    avoid = "Losses have different scales: it aligns gradients but does not balance losses."
    citation = "Wang, Tsvetkov, Firat, Cao: Gradient vaccine, ICLR 2021, arXiv:2010.05874"

    def __init__(self, beta: float = 0.01, seed: int = 0) -> None:
        super().__init__()
        require(0 <= beta <= 1, "`beta` must lie in [0, 1]", f"beta={beta}")
        self.beta, self.seed = beta, seed
        self._met: tuple[Tensor, Tensor, Tensor] | None = None

    def allocate(self, size: int) -> None:
        self.add_state("targets", torch.zeros(size, size), axes=2)

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        vaccinated, _ = self._meet(prepared, signals)
        return vaccinated.mul(prepared.norms[:, None]).sum(0) / prepared.norms

    def update(self, signals: Signals) -> None:
        with torch.autocast("cpu", enabled=False):
            prepared = prepare(signals.gram, signals.present)
            if prepared is None:
                return
            _, cosines = self._meet(prepared, signals)
            targets = self.targets.cpu()
            rows, columns = prepared.index[:, None], prepared.index[None]
            moved = targets[rows, columns].lerp(cosines.float(), self.beta)
            targets = targets.index_put((rows, columns), moved.fill_diagonal_(0.0))
        self.targets.copy_(targets, non_blocking=True)

    def _meet(self, prepared: Prepared, signals: Signals) -> tuple[Tensor, Tensor]:
        # `update` mostly needs what `forward` has just computed; after a window the Gram matrix is another one.
        if self._met is None or self._met[0] is not signals.gram:
            self._met = (signals.gram, *self._vaccinated(prepared, signals))
        return self._met[1:]

    def _vaccinated(self, prepared: Prepared, signals: Signals) -> tuple[Tensor, Tensor]:
        order = random_order(len(signals.names), prepared.index, self.seed, signals.step)
        targets = self.targets.cpu().double()[prepared.index][:, prepared.index]
        return vaccinate(prepared.cosines, targets.clamp(-LARGEST, LARGEST), order)


def vaccinate(cosines: Tensor, targets: Tensor, order: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients [M, M] of the unit gradients in each vaccinated unit gradient, and the cosines [M, M] met."""
    turned = torch.eye(len(cosines), dtype=cosines.dtype)
    square = cosines.new_ones(len(cosines))
    wanted = targets.gather(1, order)
    tangents = wanted / (1 - wanted.square()).sqrt()
    found = []
    for met, t, tangent in zip(order.unbind(1), wanted.unbind(1), tangents.unbind(1), strict=True):
        product = (turned * cosines[met]).sum(1)
        # What is left of opposite gradients after a correction is rounding, and has no direction.
        length = square.clamp(min=1e-12).sqrt_()
        c = (product / length).clamp_(-1, 1)
        found.append(c)
        add = length * (tangent * (1 - c * c).sqrt_() - c) * (c < t)
        turned.scatter_add_(1, met[:, None], add[:, None])
        square = torch.addcmul(square, add, 2 * product + add)
    seen = torch.zeros_like(cosines)
    return turned, seen.scatter_(1, order, torch.stack(found, 1)) if found else seen
