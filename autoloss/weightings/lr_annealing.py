"""Learning-rate annealing of physics-informed networks."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require, unknown
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Choice, Interval
from autoloss.core.tensors.constants import flags
from autoloss.core.weighting import Weighting

VARIANTS = ("author", "paper")


class LrAnnealing(Weighting):
    """Weights each loss so that its gradient's mean magnitude equals the largest one of the reference loss.

    ``l_k = max |grad L_r| / (w_k mean |grad L_k|)``, ``w_k <- decay w_k + (1 - decay) l_k``,
    from 1; the reference (the residual of the equation) keeps the weight 1. The sum is not fixed.
    ``variant="paper"``: without the w_k in l_k.

    Args:
        reference: name of the reference loss; the first if it is not given.
        decay: how much of the weight stays each step, in [0, 1). The author's code has 0.9 every ten
            steps (``every_n``). The paper calls ``1 - decay`` alpha and recommends 0.9 for it, which would be a decay
            of 0.1; its code contradicts that.
        variant: ``author`` or ``paper``. The author's code differentiates the already weighted losses, so that a
            weight settles at the square root of the paper's. The published numbers come from that code. The
            paper's rule diverges: a loss near 0 has hardly any gradient, so its weight grows, and it comes still
            nearer to 0 (on Helmholtz' equation the weight reaches 1e8, and nothing else is learned).

    The mean is over all coordinates of the anchor, those at which a loss has no gradient too; the authors average over
    each layer's parameters and then over the layers. A step in which the reference or the loss has no gradient moves no
    weight.
    The anchor should be parameters, as in the paper.
    """

    weights: Tensor
    needs = Need.VALUES | Need.STATS
    claims = frozenset({"common_scale_invariant"})
    search_space = {"decay": Interval(0.5, 0.99), "variant": Choice(VARIANTS)}
    use = "Physics-informed networks: boundary and data losses beside a residual with stiff gradients."
    avoid = "No loss is a natural reference; a few large entries of the gradient decide the maximum."
    citation = (
        "Wang, Teng, Perdikaris: Understanding and mitigating gradient flow pathologies in physics-informed neural "
        "networks, SISC 2021, arXiv:2001.04536"
    )

    def __init__(self, reference: str | None = None, decay: float = 0.9, variant: str = "author") -> None:
        super().__init__()
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        require(variant in VARIANTS, f"`variant` must be one of {', '.join(VARIANTS)}", f"variant={variant!r}")
        self.reference, self.decay, self.variant = reference, decay, variant

    def allocate(self, size: int) -> None:
        if self.reference is not None and self.reference not in self.names:
            raise unknown("loss", self.reference, self.names)
        self.add_state("weights", torch.ones(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        at = self.names.index(self.reference) if self.reference is not None else 0
        stats = signals.stats
        ratio = stats.largest[at] / stats.mean
        if self.variant == "author":
            ratio = ratio / self.weights
        # inf, NaN and 0: the loss, both, or the reference has no gradient (or is absent).
        usable = ratio.isfinite() & (ratio > 0) & signals.present[at]
        weights = torch.where(usable, self.weights.lerp(ratio, 1 - self.decay), self.weights)
        is_reference = flags(tuple(k == at for k in range(len(self.names))), weights.device)
        return torch.where(is_reference, 1.0, weights)

    def update(self, signals: Signals) -> None:
        self.weights.copy_(self(signals))
