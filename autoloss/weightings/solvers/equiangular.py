"""The direction at one angle to all gradients."""

from __future__ import annotations

import torch
from torch import Tensor

# Eigenvalues of the cosines below this times M are 0 but for rounding in float32.
TOLERANCE = 1e-6


def equiangular(cosines: Tensor) -> Tensor:
    """The coefficients c [M] of unit gradients whose sum projects on each of them alike.

    ``c = C^+ 1 + (1 - C C^+ 1)``: where the gradients are independent, every projection ``(C c)_k`` is 1,
    to 1e-9. What is left of 1 where they cancel adds nothing to the sum of the gradients, and
    keeps the weights of opposite ones from 0, at which their heads would not learn.

    Args:
        cosines: C [M, M], float64.
    """
    values, vectors = torch.linalg.eigh(cosines)
    inverse = torch.where(values > TOLERANCE * len(values), 1 / values, 1.0)
    return vectors @ (inverse * vectors.sum(0))
