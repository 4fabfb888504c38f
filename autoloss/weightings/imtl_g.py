"""Impartial gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.weightings.solvers.equiangular import equiangular
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared

# The sum of the weights before scaling is taken to be at least this part of their magnitudes' sum.
CANCELLED = 0.01


class ImtlG(GramWeighting):
    """Weights the gradients so that their sum has the same projection on each gradient's direction.

    ``<d, g_k / ||g_k||>`` is equal and positive for all k: ``w_k`` is proportional to ``(C^+ 1)_k / ||g_k||``,
    C the cosines. For independent gradients that is the paper's ``g_1 U^T (D U^T)^-1``, without an inverse
    that parallel gradients make singular; where gradients cancel, equality holds in the sense of least squares.
    The weights sum to the number of present losses, unless negative ones cancel more than 98 % of
    the positive ones: dividing by the rest would make d very long or reverse it, so they then sum to less.

    Weights may be negative. The step of the shared parameters still lowers every loss, but a head that
    only that loss trains raises it: wrap in ``clamp`` if heads are not shared. Waits once for the device.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    use = "Losses of different scales that should fall at one rate; no parameter to tune."
    avoid = "Short gradients point along longer ones: their weights become negative."
    citation = "Liu et al.: Towards impartial multi-task learning, ICLR 2021"

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        weights = equiangular(prepared.cosines) / prepared.norms
        total = torch.maximum(weights.sum(), CANCELLED * weights.abs().sum())
        return weights * (len(weights) / total)
