"""EnCodec's balancer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.terms import check_weight
from autoloss.core.weighting import Weighting


class Balancer(Weighting):
    """Gives each loss its share of the gradient at the network's output, whatever the loss's scale.

    ``w_k = R (share_k / sum_j share_j) / n_k``, n_k the bias-corrected moving average of the mean norm,
    over items, of the loss's gradient. With the output as anchor, its K passes go through the losses
    only. The sum of the weights is not fixed: with one loss an item's gradient has the norm R on average.

    Args:
        shares: by loss name, at least 0; a loss that is not named has 1.
        total_norm: R, above 0.
        decay: of the moving average, in [0, 1).

    The average includes this step before it is used. A loss whose gradient was always 0 has the weight 1,
    where audiocraft has 1e12. Losses that do not come from the output (a commitment loss, a penalty)
    keep their base weight by themselves. The state is in the checkpoint.
    """

    total: Tensor
    number: Tensor
    shares: Tensor
    needs = Need.VALUES | Need.STATS
    claims = frozenset({"permutation_equivariant", "loss_scale_invariant", "common_scale_invariant"})
    use = "Audio or image generators: many losses on one output, adversarial ones among them."
    avoid = "Losses reach the model on several paths; a loss whose gradient shrinks should lose influence."
    citation = "Défossez, Copet, Synnaeve, Adi: High fidelity neural audio compression, TMLR 2023, arXiv:2210.13438"

    def __init__(self, shares: Mapping[str, float] = {}, total_norm: float = 1.0, decay: float = 0.999) -> None:
        super().__init__()
        for name, share in shares.items():
            check_weight(f"shares.{name}", share)
        require(total_norm > 0, "`total_norm` must be above 0", f"total_norm={total_norm}")
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.given, self.total_norm, self.decay = dict(shares), total_norm, decay

    def allocate(self, size: int) -> None:
        shares = self.per_loss(self.given)
        require(bool(shares.sum() > 0), "Some loss must have a share above 0", "none has")
        self.register_buffer("shares", shares, persistent=False)
        self.add_state("total", torch.zeros(size), axes=1)
        self.add_state("number", torch.zeros(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        total, number = self._averaged(signals)
        norms = total / number
        parts = self.shares / self.shares.where(signals.present, 0.0).sum().clamp(min=torch.finfo(torch.float32).tiny)
        return torch.where(norms == 0, 1.0, self.total_norm * parts / norms)

    def update(self, signals: Signals) -> None:
        total, number = self._averaged(signals)
        self.total.copy_(total)
        self.number.copy_(number)

    def _averaged(self, signals: Signals) -> tuple[Tensor, Tensor]:
        return self.total * self.decay + signals.stats.item_norm, self.number * self.decay + 1
