"""Unconflicting projection of each gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.weightings.solvers.cone import project
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class Upgrad(GramWeighting):
    """Projects each gradient to where it conflicts with none, and adds the projections up.

    The projection of g_i on ``{d: <g_k, d> >= 0}`` has the weights v of ``min v^T G v``, ``v >= e_i`` (proposition 1);
    ``w = sum_i v_i``. A step lowers every loss, and a loss with a larger scale has proportionally more influence.
    The paper and TorchJD take the mean: K times shorter. Here weights are 1 without conflict and
    never below 1; their sum is not fixed.

    All K problems are solved exactly, together. TorchJD adds 1e-4 to the diagonal; here cosines shrink
    by 1e-6. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant", "non_conflicting"})
    use = "No loss may get worse, and the scale of a loss says how much it matters."
    avoid = "Losses have different scales but matter equally."
    citation = "Quinton, Rey: Jacobian descent for multi-objective optimization, 2024, arXiv:2406.16232"

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        norms = prepared.norms
        projected = project(prepared.definite(), torch.eye(len(norms), dtype=norms.dtype))
        return (projected * norms[:, None]).sum(0) / norms
