"""The quantile (pinball) loss."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss import Interval, Loss, per_sample, require


class Quantile(Loss):
    """``max(q e, (q - 1) e)`` of the error ``e = target - prediction``, mean over all but the samples: [B, ...] -> [B].

    Args:
        q: the quantile that is predicted where the loss is least, in (0, 1).
    """

    search_space = {"q": Interval(0.05, 0.95)}
    use = "Bounds that a given share of the targets lies below."
    avoid = "The mean is wanted (mse)."
    citation = "Koenker, Bassett: Regression quantiles, Econometrica 1978"

    def __init__(self, q: float = 0.9) -> None:
        super().__init__()
        require(0 < q < 1, "`q` must lie in (0, 1)", f"q={q}")
        self.q = q

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        error = target - prediction
        return per_sample(torch.maximum(self.q * error, (self.q - 1) * error))
