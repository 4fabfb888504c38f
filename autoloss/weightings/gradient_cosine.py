"""Auxiliary losses as far as their gradients agree with the main ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import unknown
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.core.weighting import Weighting
from autoloss.weightings._main import Main

VARIANTS = ("weighted", "unweighted")


class GradientCosine(Weighting):
    """Keeps an auxiliary loss as far as its gradient points along the main one.

    Main losses keep 1. With g the sum of their gradients at the anchor, an auxiliary loss has
    ``w_k = max(0, cos(g, g_k))`` (``weighted``) or 1 where the cosine is above 0 and else 0 (``unweighted``).
    So a step never lets the main losses rise to first order: ``<d, g> >= ||g||^2``.

    Args:
        main: the main losses, one name or several.
        variant: ``weighted`` or ``unweighted``.

    Without a main loss in the batch nothing is known, and every loss keeps 1.
    """

    needs = Need.VALUES | Need.GRAM
    claims = frozenset({"common_scale_invariant"})
    search_space = {"variant": Choice(VARIANTS)}
    use = "One loss is the goal and the others are there to help it."
    avoid = "All losses matter; or the batch is small: cosines of noisy gradients are near 0."
    citation = "Du et al.: Adapting auxiliary losses using gradient similarity, 2018, arXiv:1812.02224"

    def __init__(self, main: str | Sequence[str], variant: str = "weighted") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        self.main, self.weighted = Main(main), variant == "weighted"

    def allocate(self, size: int) -> None:
        self.main.check(self.names)

    def forward(self, signals: Signals) -> Tensor:
        main = self.main.flags(self.names, signals.values.device)
        here = (main & signals.present).float()
        along, norms = signals.gram @ here, signals.gram.diagonal().sqrt()
        length = (here @ along).clamp(min=0).sqrt()
        cosine = along / (norms * length).clamp(min=torch.finfo(along.dtype).tiny)
        weights = cosine.clamp(0, 1) if self.weighted else (cosine > 0).float()
        return torch.where(main | ~here.any(), 1.0, weights)
