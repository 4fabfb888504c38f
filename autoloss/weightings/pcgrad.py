"""Gradient surgery."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.weightings.solvers.order import random_order
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared


class Pcgrad(GramWeighting):
    """Removes from each gradient what conflicts with the others, and adds up the rest.

    Each h_i starts as g_i and meets the other gradients in random order (algorithm 1): where
    ``<h_i, g_j> < 0``, ``h_i <- h_i - <h_i, g_j> / ||g_j||^2 g_j``, with g_j as it was measured.
    The gradient is ``sum_i h_i``, the paper's sum and not the mean of some ports: without conflict
    all weights are 1. Their sum is at least the number of present losses.

    Args:
        seed: of the random orders, which depend on the seed and the step alone.

    All h_i are corrected at once, position by position. The official code discards its shuffled
    order. Two losses do not conflict afterwards; three or more still may. Waits once for the device.
    """

    claims = frozenset({"common_scale_invariant"})
    use = "Gradients of similar length that often oppose each other."
    avoid = "Losses have different scales: it removes conflicts but does not balance losses."
    citation = "Yu et al.: Gradient surgery for multi-task learning, NeurIPS 2020, arXiv:2001.06782"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        order = random_order(len(signals.names), prepared.index, self.seed, signals.step)
        return project(prepared.cosines, order).mul(prepared.norms[:, None]).sum(0) / prepared.norms


def project(cosines: Tensor, order: Tensor) -> Tensor:
    """Coefficients [M, M] of the unit gradients in each corrected unit gradient, met in ``order`` [M, M - 1]."""
    corrected = torch.eye(len(cosines), dtype=cosines.dtype)
    for met in order.unbind(1):
        product = (corrected * cosines[met]).sum(1)
        corrected.scatter_add_(1, met[:, None], -product.clamp(max=0)[:, None])
    return corrected
