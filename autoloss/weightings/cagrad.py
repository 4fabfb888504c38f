"""Conflict-averse gradient descent."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.weightings.solvers.ball import conflict_averse
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared

RESCALES = (0, 1, 2)


class Cagrad(GramWeighting):
    """Moves the sum of the gradients, within a ball around it, to where the slowest loss falls fastest.

    ``d = argmax min_k <g_k, d>`` over ``||d - s|| <= c ||s||`` (eq. 2), with s the sum of the
    gradients; the paper has their mean, which is K times shorter, as LibMTL and TorchJD do. So
    c = 0 gives weights of 1, and no weight is below 1 (before ``rescale``); their sum is not fixed.

    Args:
        c: radius of the ball relative to ``||s||``, at least 0; from 1 on no loss rises.
        rescale: divides the weights: 0 by 1 (TorchJD), 1 by ``1 + c^2``, 2 by ``1 + c`` (official
            code, which has 1 as default).

    The result does not depend on the gradients' scale: the official solver (SLSQP on the raw Gram
    matrix) stops at its starting point for scales of 1e-3 or 100. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"c": Interval(0.1, 0.9)}
    use = "The average loss matters most, and no loss should rise for it."
    avoid = "Losses have different scales: the largest one dominates the sum that it stays near."
    citation = "Liu, Liu, Jin, Stone, Liu: Conflict-averse gradient descent, NeurIPS 2021, arXiv:2110.14048"

    def __init__(self, c: float = 0.4, rescale: int = 1) -> None:
        super().__init__()
        require(c >= 0, "`c` must be at least 0", f"c={c}")
        require(rescale in RESCALES, "`rescale` must be 0, 1 or 2", f"rescale={rescale}")
        self.c = c
        self.divisor = (1.0, 1 + c**2, 1 + c)[rescale]

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        return conflict_averse(prepared.definite(), prepared.norms, self.c) / self.divisor
