"""The direction that has the same angle to all gradients."""

from __future__ import annotations

import torch
from torch import Tensor

# Eigenvalues of the cosines below this times M count as 0: they are rounding in float32.
TOLERANCE = 1e-6


def equiangular(cosines: Tensor) -> Tensor:
    """The coefficients c [M] of unit gradients whose weighted sum has one projection on all of them.

    ``c = C^+ 1 + (1 - C C^+ 1)``: where the gradients are independent, every projection ``(C c)_k`` is 1,
    to 1e-9. Where gradients cancel, the second part adds nothing to their sum, but
    keeps the weights of opposite ones away from 0, at which their heads would not learn.

    Args:
        cosines: C [M, M], float64.
    """
    values, vectors = torch.linalg.eigh(cosines)
    inverse = torch.where(values > TOLERANCE * len(values), 1 / values, 1.0)
    return vectors @ (inverse * vectors.sum(0))
