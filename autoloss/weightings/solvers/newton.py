"""The weights of proportional and of alpha-fair bargaining, by a damped Newton method."""

from __future__ import annotations

import torch
from torch import Tensor

# 400 were the most seen, for norms over twelve decades at alpha = 10; most solves take less than 20.
STEPS = 500
# Relative residual at which the solve ends; one further step then squares it.
ENOUGH = 1e-6
# Relative to the terms that cancel in C y.
ROUNDING = 1e-14


def fair(cosines: Tensor, norms: Tensor, alpha: float) -> Tensor:
    """The w > 0 [M] with ``G w = w^(-1 / alpha)``, G the Gram matrix of ``cosines`` and ``norms``.

    It is the minimum of the strictly convex ``1/2 w^T G w - sum psi(w_k)``, ``psi' = w^(-1 / alpha)``.
    In ``y = w ||g||`` the condition is ``C y = ||g||^(1 / alpha - 1) y^(-1 / alpha)``, C the cosines, and is
    met to 1e-9 of its right-hand side and 1e-13 of the terms that cancel in ``C y``.

    Args:
        cosines: C [M, M], float64, positive definite.
        norms: [M], float64, above 0.
        alpha: in [0.1, 10]; 1 is Nash's bargaining solution.
    """
    power = -1 / alpha
    share = norms ** (-power - 1)

    def pull(y: Tensor) -> Tensor:
        return share * y**power

    # The solution for orthogonal gradients, times the best factor for these.
    y = norms ** ((1 - alpha) / (1 + alpha))
    y = y * (y @ y / (y @ cosines @ y)) ** (alpha / (alpha + 1))
    for _ in range(STEPS):
        out = pull(y)
        gradient = cosines @ y - out
        last = bool((gradient.abs() <= ENOUGH * out + ROUNDING * (cosines.abs() @ y)).all())
        factor = torch.linalg.cholesky_ex(cosines + torch.diag_embed(-power * out / y)).L
        step = -torch.cholesky_solve(gradient[:, None], factor)[:, 0]
        change = step / y
        size = min(1.0, 0.95 / max(-float(change.amin()), 1e-300))
        # Where no y changes by much, the full step leaves a residual of the order of that change squared.
        if not last and change.abs().amax() > 0.1:
            rise = -0.1 * float(gradient @ step)
            while size > 1e-12 and (cosines @ (y + size * step) - pull(y + size * step)) @ step > rise:
                size /= 2
        y = y + size * step
        if last:
            break
    return y / norms
