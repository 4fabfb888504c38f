"""The product of the losses."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Scalarization


class Product(Scalarization):
    """Minimises the product of the losses: ``S = prod_k L_k``, so ``w_k = S / L_k``.

    Its direction is that of the geometric mean; its step shrinks with every loss. Computed from
    logarithms: log S is kept within [-60, 60], which changes the gradient's length and not its
    direction, and a loss below 1e-20 counts as 1e-20.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    positive = True
    use = "Two or three losses near 1 of which none may be traded for another."
    avoid = "There are many losses, or one is far from 1: weights range over orders of magnitude (take geometric)."
    citation = "folklore"

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        return self._logs(values, signals).sum().exp()

    def forward(self, signals: Signals) -> Tensor:
        logs = self._logs(signals.values, signals)
        return (logs.sum().clamp(-60.0, 60.0) - logs).clamp(max=80.0).exp()

    def _logs(self, values: Tensor, signals: Signals) -> Tensor:
        return torch.where(signals.present, values.clamp(min=1e-20).log(), 0.0)
