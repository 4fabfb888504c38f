"""Multi-task learning as a bargaining game."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.weightings.solvers.newton import fair
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class NashMtl(GramWeighting):
    """Gives the weights of Nash's bargaining solution: each loss falls in inverse proportion to its weight.

    ``G w = 1 / w``, w > 0, so that ``w_k <g_k, d> = 1`` for every k and, before the clip,
    ``||d||^2 = K``. A factor on a loss does not change its influence. The sum of the weights is not
    fixed: they are of the size of ``1 / ||g_k||``.

    Args:
        max_norm: the longest d at the anchor, at least 0; 0 for no clip. As d always has the length
            ``sqrt(K)``, the default of the official code makes it 1.

    The solution is the minimum of a strictly convex function and takes a few Newton steps
    (:func:`fair`); the official code and LibMTL call a cone solver inside a bare ``except`` and, where
    it is not installed, train with equal weights without a warning. For opposite gradients there is
    no solution: there cosines that are shrunk by 1e-6 bound each weight by ``1000 sqrt(K) / ||g_k||``.
    A loss whose gradient is 0 has the weight 1. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "loss_scale_invariant", "common_scale_invariant", "non_conflicting"})
    use = "Losses of different scales, none of which may be given up."
    avoid = "SGD has a tuned learning rate: the gradient's length no longer shrinks near the optimum."
    citation = "Navon et al.: Multi-task learning as a bargaining game, ICML 2022, arXiv:2202.01017"

    def __init__(self, max_norm: float = 1.0) -> None:
        super().__init__()
        require(max_norm >= 0, "`max_norm` must be at least 0", f"max_norm={max_norm}")
        self.max_norm = max_norm

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        weights = fair(prepared.definite(), prepared.norms, 1.0)
        weights = weights / prepared.scale
        return prepared.clip(weights, self.max_norm) if self.max_norm else weights
