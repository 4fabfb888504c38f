"""The direction, in a ball around the sum of the gradients, in which the slowest loss falls fastest."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.weightings.solvers.pivoting import complementary

STEPS = 100


def conflict_averse(cosines: Tensor, norms: Tensor, radius: float) -> Tensor:
    """The w [M] whose ``d = sum_k w_k g_k`` has the largest ``min_k <g_k, d>`` in the ball.

    The ball is ``||d - s|| <= radius ||s||`` around the sum s, so w is 1 plus something that is at least 0.
    This solves CAGrad's primal problem (eq. 2). Others give its dual to a conic solver, which finds no
    direction where the convex hull of the gradients contains 0. The least correction under which
    every ``<g_k, d>`` is at least ``level`` is a complementarity problem; its length is a convex,
    increasing function of the level, so Newton's method comes down to the level at which d is on the
    ball's surface. The radius is met to 1e-12, the rest to the accuracy of :func:`complementary`.

    Args:
        cosines: [M, M], float64, positive definite.
        norms: [M], float64, above 0.
        radius: at least 0, relative to ``||s||``.
    """
    served = cosines @ norms
    length = radius * (norms @ served).clamp(min=0).sqrt()
    if length == 0:
        return torch.ones_like(norms)
    inverse = norms.amin() / norms
    # The correction that reaches a level for one loss alone is no longer than the one that reaches it for all.
    level = ((length + served) / inverse).amin()
    support = None
    for _ in range(STEPS):
        correction = complementary(cosines, (served - level * inverse)[None], support)
        support, y = correction > 0, correction[0]
        reached = (y @ cosines @ y).sqrt()
        step = (length - reached) * reached / (inverse @ y)
        level = level + step
        if (length - reached).abs() <= 1e-12 * length:
            break
    return 1 + y / norms
