"""Projections on the cone of directions that conflict with no gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.weightings.solvers.pivoting import complementary


def project(cosines: Tensor, combinations: Tensor) -> Tensor:
    """Project each row's combination of unit gradients on ``{d: <g_k, d> >= 0 for all k}``.

    For coefficients u of the M unit gradients the projection has the coefficients v of
    ``min v^T C v`` over ``v >= u`` (Quinton and Rey, proposition 1); with ``v = u + y`` that is a
    complementarity problem in y, solved for all rows at once with the accuracy of
    :func:`complementary`.

    Args:
        cosines: C [M, M], float64, positive definite.
        combinations: [B, M], float64.
    """
    return combinations + complementary(cosines, torch.mm(combinations, cosines))
