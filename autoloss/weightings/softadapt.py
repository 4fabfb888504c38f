"""SoftAdapt, with the slope at the newest value."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Choice, Interval
from autoloss.core.weighting import Weighting

VARIANTS = ("original", "loss_weighted", "normalised")


class Softadapt(Weighting):
    """Weights each loss by a softmax of its recent slope: ``w = K softmax(beta s)``.

    ``s_k`` is the backward difference of accuracy ``order`` at the newest value, from the last
    ``order + 1`` values that the loss had; 0 until there are so many. ``loss_weighted``:
    ``w_k ~ f_k exp(beta s_k)`` with ``f_k`` their mean. ``normalised``: s is divided by ``sum_j |s_j|``.
    The paper's weights sum to 1, these to the number K of present losses.

    Args:
        beta: above 0 favours losses that rise or fall slowly, below 0 those that fall fast; in
            units of 1 / loss unless ``normalised``.
        order: how many steps back the slope looks, from 1 to 5; noise grows with it.
        variant: ``original``, ``loss_weighted`` or ``normalised``.

    The authors' code applies forward stencils, that is, takes the slope at the oldest value (for t^2
    from t = 0 to 5 it gives 0 and not 10), and divides by the signed sum, which may be 0 or reverse signs.
    What physicsnemo calls SoftAdapt is ``K softmax(L(t) / L(t-1))``, another method.
    """

    history: Tensor
    claims = frozenset({"sums_to_count", "permutation_equivariant"})
    search_space = {"beta": Interval(0.01, 10.0, log=True), "variant": Choice(VARIANTS)}
    use = "Losses of similar scale, of which some stall while others fall."
    avoid = "Mini-batch losses are noisy: their slopes are noisier still (wrap it in ema)."
    citation = "Heydari, Thompson, Mehmood: SoftAdapt, 2019, arXiv:1912.12355"

    def __init__(self, beta: float = 0.1, order: int = 1, variant: str = "original") -> None:
        super().__init__()
        require(1 <= order <= 5, "`order` must lie in [1, 5]", f"order={order}")
        require(variant in VARIANTS, f"`variant` must be one of {', '.join(VARIANTS)}", f"variant={variant!r}")
        self.beta, self.order, self.variant = beta, order, variant
        self.positive = variant == "loss_weighted"  # type: ignore[misc]

    def allocate(self, size: int) -> None:
        self.add_state("history", torch.full((size, self.order), torch.nan), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        window = torch.cat([self.history, signals.values[:, None]], dim=1)
        slope = self._slope(window)
        if self.variant == "normalised":
            slope = slope / (signals.count * signals.mean(slope.abs())).clamp(min=1e-30)
        logits = self.beta * slope
        if self.variant == "loss_weighted":
            logits = logits + window.nanmean(1).clamp(min=1e-20).log()
        return signals.count * signals.softmax(logits)

    def update(self, signals: Signals) -> None:
        self.history.copy_(torch.cat([self.history[:, 1:], signals.values[:, None]], dim=1))

    def _slope(self, window: Tensor) -> Tensor:
        # Newton's series, sum of the j-th differences over j, is the stencil of that order, and
        # exactly 0 for a constant: the stencil's own coefficients sum to 0 only up to rounding.
        slope = torch.zeros_like(window[:, -1])
        for j in range(1, self.order + 1):
            window = window.diff(dim=1)
            slope = slope + window[:, -1] / j
        return torch.where(slope.isnan(), 0.0, slope)
