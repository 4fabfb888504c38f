"""Weights that the user gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Weighting


class Fixed(Weighting):
    """Gives each loss the constant weight that the user sets: ``total = sum_k a_k L_k``.

    Args:
        weights: by loss name, each at least 0; a loss that is not named has the weight 1. On a command line, names that
            are no plain words are written ``{pairs: [['1', 0.5], ['KL(q||p)', 1.5]]}``.

    Raises :class:`ConfigError` for a negative or NaN weight, and for one whose loss does not exist.
    """

    weights: Tensor
    use = "Weights that are known: from a search, from a distilled run, from a paper on the same data."
    avoid = "Weights are guessed. Search for them instead."
    citation = "folklore (linear scalarisation)"

    def __init__(self, weights: Mapping[str, Any] = {}) -> None:
        super().__init__()
        if isinstance(weights.get("pairs"), Sequence):
            weights = dict(weights["pairs"])
        for name, weight in weights.items():
            check_weight(f"weights.{name}", weight)
        self.given = dict(weights)

    def allocate(self, size: int) -> None:
        self.add_state("weights", self.per_loss(self.given), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        return self.weights.clone()
