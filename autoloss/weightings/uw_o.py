"""Optimal uncertainty weighting."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class UwO(Weighting):
    """Divides each loss by its own value: ``w_k = 1 / L_k``, the optimum that uncertainty learns towards.

    The total is K at every step, so watch the losses and not the total. The gradient is that of
    ``sum_k log L_k`` (scale_invariant). A loss below 1e-20 counts as 1e-20.
    """

    claims = frozenset({"permutation_equivariant", "loss_scale_invariant", "common_scale_invariant"})
    positive = True
    use = "Losses of different scales, from the first step on and without a learning rate to choose."
    avoid = "A loss goes to 0 or jumps between batches: its weight explodes or jumps (take uw_so, or wrap it in clamp)."
    citation = "Kirchdorfer et al.: Analytical uncertainty-based loss weighting, GCPR 2024, arXiv:2408.07985"

    def forward(self, signals: Signals) -> Tensor:
        return signals.values.clamp(min=1e-20).reciprocal()
