"""Pulls weights towards a prior."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Weighting, Wrapper


class Regularise(Wrapper):
    """Mixes the inner weights with a prior: ``w = (1 - s) inner + s m prior``, m the inner weights' mean.

    The prior is scaled to mean 1 over the present losses, so the sum of weights stays as it is.

    Args:
        strength: s, in [0, 1]; 0 changes nothing, 1 keeps the inner weights' sum only.
        prior: by loss name, each at least 0; 1 for a loss that is not named.
    """

    prior: Tensor
    use = "A dynamic weighting that over-adjusts: one loss gets hardly any weight, or nearly all."
    citation = "folklore (shrinkage towards a prior)"

    def __init__(self, inner: Weighting, strength: float = 0.1, prior: Mapping[str, float] = {}) -> None:
        super().__init__(inner)
        require(0 <= strength <= 1, "`strength` must lie in [0, 1]", f"strength={strength}")
        for name, weight in prior.items():
            check_weight(f"prior.{name}", weight)
        self.strength, self.given = strength, dict(prior)

    def allocate(self, size: int) -> None:
        self.add_state("prior", self.per_loss(self.given), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        weights = self.inner(signals)
        mean = signals.mean(self.prior)
        # A prior of 0 for all present losses prefers none of them.
        prior = torch.where(mean > 0, self.prior / mean, 1.0)
        return weights.lerp(prior * signals.mean(weights), self.strength)
