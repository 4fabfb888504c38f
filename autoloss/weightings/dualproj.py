"""Unconflicting projection of the sum."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.weightings.solvers.cone import project
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class Dualproj(GramWeighting):
    """Projects the sum of the gradients to where it conflicts with none of them.

    The nearest d to ``sum_k g_k`` with ``<g_k, d> >= 0`` for all k has the weights of ``min w^T G w``,
    ``w >= 1`` (GEM's eq. 11 with all losses as constraints). TorchJD takes the mean: K times shorter.
    Here weights are 1 without conflict and never below 1; their sum is not fixed. Solved exactly.
    Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant", "non_conflicting"})
    use = "The plain sum, where it must not raise any loss."
    avoid = "Losses have different scales: the largest one's gradient dominates the sum."
    citation = "Lopez-Paz, Ranzato: Gradient episodic memory for continual learning, NeurIPS 2017, arXiv:1706.08840"

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        return project(prepared.definite(), prepared.norms[None])[0] / prepared.norms
