"""Conflict-free inverse gradients."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.weightings.solvers.equiangular import equiangular
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class Config(GramWeighting):
    """Takes the direction at one angle to every gradient; its length is the sum of their projections on it.

    With U the unit gradients, ``u = U^+ 1`` made a unit vector, ``d = (sum_k <g_k, u>) u`` (eq. 2);
    as weights, ``w_k = (sum_j ||g_j||) (C^+ 1)_k / (||g_k|| 1^T C^+ 1)`` with C the cosines. The
    direction is that of ``imtl_g``; the length is the gradients' own, so that for parallel gradients d
    is their sum. The sum of the weights is not fixed.

    Weights may be negative. The step of the shared parameters still lowers every loss, but a head that
    only that loss trains raises it: wrap in ``clamp`` if heads are not shared. Where gradients cancel
    (opposite ones), the angles are equal in the sense of least squares. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    use = "Physics-informed networks, where residual and boundary losses conflict; no parameter to tune."
    avoid = "Short gradients point along longer ones: their weights become negative."
    citation = "Liu, Chu, Thuerey: ConFIG, ICLR 2025, arXiv:2408.11104"

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        coefficients = equiangular(prepared.cosines)
        return coefficients * (prepared.norms.sum() / coefficients.sum()) / prepared.norms
