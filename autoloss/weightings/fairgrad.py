"""Fair resource allocation."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.weightings.solvers.newton import fair
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class Fairgrad(GramWeighting):
    """Gives the weights under which the decreases of the losses are alpha-fair.

    ``G w = w^(-1 / alpha)``, w > 0 (eq. 4): alpha near 0 weights equally, 1 is ``nash_mtl``, and the larger, the
    more the slowest loss counts. The sum of the weights is not fixed.

    Args:
        alpha: in [0.1, 10]; 2 in the official runs.
        max_norm: the longest d at the anchor, at least 0; 0 for no clip.

    This is the minimum of a strictly convex function, which Newton's method finds (:func:`fair`). The
    official least-squares search fails where norms differ by 1e4, and its d is K times longer before
    the clip. Opposite gradients are treated as in ``nash_mtl``, with 1e6 to the power
    ``alpha / (alpha + 1)`` in the place of 1000. A loss whose gradient is 0 has the weight 1.
    Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant", "non_conflicting"})
    search_space = {"alpha": Interval(0.5, 5.0, log=True)}
    use = "As nash_mtl, with a parameter for how much the slowest loss counts."
    avoid = "SGD has a tuned learning rate, unless max_norm=0."
    citation = "Ban, Ji: Fair resource allocation in multi-task learning, ICML 2024, arXiv:2402.15638"

    def __init__(self, alpha: float = 2.0, max_norm: float = 1.0) -> None:
        super().__init__()
        require(0.1 <= alpha <= 10, "`alpha` must lie in [0.1, 10]", f"alpha={alpha}")
        require(max_norm >= 0, "`max_norm` must be at least 0", f"max_norm={max_norm}")
        self.alpha, self.max_norm = alpha, max_norm

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        weights = fair(prepared.definite(), prepared.norms, self.alpha)
        weights = weights * prepared.scale ** (-2 * self.alpha / (self.alpha + 1))
        return prepared.clip(weights, self.max_norm) if self.max_norm else weights
