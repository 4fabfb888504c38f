"""The weighted sum of the losses' logarithms."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Scalarization


class ScaleInvariant(Scalarization):
    """Minimises the sum of the losses' logarithms: ``S = sum_k a_k log L_k``, so ``w_k = a_k / L_k``.

    A factor on a loss changes nothing at all. Each weighted loss has the value a_k.

    Args:
        weights: a by loss name, each at least 0; a loss that is not named has 1.

    A loss below 1e-20 counts as 1e-20.
    """

    weights: Tensor
    claims = frozenset({"permutation_equivariant", "loss_scale_invariant", "common_scale_invariant"})
    positive = True
    use = "Losses in units that cannot be compared."
    avoid = "A loss goes to 0 or below: its weight grows without bound (wrap it in clamp)."
    citation = "Navon et al.: Multi-task learning as a bargaining game, ICML 2022, arXiv:2202.01017 (baseline SI)"

    def __init__(self, weights: Mapping[str, float] = {}) -> None:
        super().__init__()
        for name, weight in weights.items():
            check_weight(f"weights.{name}", weight)
        self.given = dict(weights)

    def allocate(self, size: int) -> None:
        self.register_buffer("weights", self.per_loss(self.given), persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        return torch.where(signals.present, self.weights * values.clamp(min=1e-20).log(), 0.0).sum()

    def forward(self, signals: Signals) -> Tensor:
        return self.weights / signals.values.clamp(min=1e-20)
