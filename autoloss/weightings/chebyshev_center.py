"""The Chebyshev centre of the dual cone."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.weightings.solvers.min_norm import min_norm
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class ChebyshevCenter(GramWeighting):
    """Takes the direction whose smallest angle of descent is the best: ``max min_k <g_k / ||g_k||, u>``, ``||u|| = 1``.

    A direction lowers all losses if it lies in their dual cone, and u is as far as possible from each side of it. Its
    dual is the shortest d in the convex hull of the unit gradients, ``d = sum_k y_k g_k / ||g_k||``, and
    ``u = d / ||d||``. The length is that of ``config``: ``w_k = s y_k / ||g_k||`` with
    ``s = sum_j <g_j, d> / ||d||^2``. With two losses it is the bisector, ``dual_cone``. Weights are never negative;
    their sum is not fixed.

    Losses that lie well inside the cone have the weight 0: others lower them too. ``config`` makes all angles equal
    instead, if need be with negative weights. The paper takes a unit direction, whose length the learning rate gives.
    Where gradients cancel (opposite ones), the step is 0 at the anchor. Solved exactly. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant", "non_conflicting"})
    use = "Physics-informed networks with several boundary losses that conflict; no loss is a natural reference."
    avoid = "A loss that others lower on their way is to be fitted exactly: its own gradient may count for nothing."
    citation = (
        "Yoon, Bae, Ho-Nguyen, Lee: Chebyshev center-based direction selection for multi-objective optimization and "
        "training PINNs, 2026, arXiv:2605.09975"
    )

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        cosines, norms = prepared.definite(), prepared.norms
        parts = min_norm(cosines, norms.new_ones(len(norms)))
        along = cosines @ parts  # <g_k / ||g_k||, d>
        return parts / norms * ((norms @ along) / (parts @ along))
