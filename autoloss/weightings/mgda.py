"""Multiple-gradient descent."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.weightings.solvers.min_norm import min_norm
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared

SCALINGS = ("none", "l2")


class Mgda(GramWeighting):
    """Weights the gradients so that their convex combination d is as short as possible.

    ``w = argmin ||sum_k w_k g_k||`` over the simplex (eq. 3), times the number of losses. A step
    down d lowers every loss: ``<g_k, d> >= ||d||^2``. The weights sum to the number of present losses.

    Args:
        scaling: ``none``, or ``l2`` to look for the shortest combination of the gradients' directions,
            so that a short gradient does not take all the weight.

    Solved exactly with an active set (see :func:`min_norm`): the official Frank-Wolfe loop clamps
    weights to [0.001, 0.999] and may not end, TorchJD's stops at twice the optimum. The features as
    anchor make this MGDA-UB. A loss whose gradient is 0 has the weight 1 and takes no part. Where
    gradients cancel (opposite ones), d is 0 at the anchor: no direction lowers all losses. Waits
    once for the device.
    """

    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant", "non_conflicting"})
    search_space = {"scaling": Choice(SCALINGS)}
    use = "No loss may get worse, and none is nearly converged."
    avoid = "One gradient is much shorter than the rest: it takes all the weight (scaling=l2)."
    citation = "Sener, Koltun: Multi-task learning as multi-objective optimization, NeurIPS 2018, arXiv:1810.04650"

    def __init__(self, scaling: str = "none") -> None:
        super().__init__()
        require(scaling in SCALINGS, f"`scaling` must be one of {', '.join(SCALINGS)}", f"it is {scaling!r}")
        self.scaling = scaling

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        cosines, norms = prepared.definite(), prepared.norms
        if self.scaling == "none":
            weights = min_norm(cosines, norms)
        else:
            weights = min_norm(cosines, norms.new_ones(len(norms))) * (norms.amin() / norms)
        return weights * (len(norms) / weights.sum())
