"""The shortest vector in the convex hull of the gradients."""

from __future__ import annotations

from torch import Tensor

from autoloss.weightings.solvers.pivoting import complementary


def min_norm(cosines: Tensor, norms: Tensor) -> Tensor:
    """The w [M] on the simplex that makes ``||sum_k w_k g_k||`` smallest.

    With ``y_k = w_k ||g_k||`` and C the cosines, the optimality conditions up to a common factor are
    ``C y - 1 / ||g|| >= 0``, ``y >= 0``, complementary: one exact active-set solve, whatever the
    spread of the norms. For unit gradients u, ``<u_k, d>`` is right to 1e-8 of ``||d||``.

    Args:
        cosines: [M, M], float64, positive definite.
        norms: [M], float64, above 0.
    """
    # The largest entry of q is 1, so that products stay in range.
    inverse = norms.amin() / norms
    weights = complementary(cosines, -inverse[None])[0] * inverse
    return weights / weights.sum()
