"""The hinge loss, for two classes or several."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample


class Hinge(Loss):
    """The distance to the margin.

    Two classes: ``max(0, m - y f)`` with scores f [B, ...] and y in {0, 1} or {-1, 1} -> [B].
    Several (scores [B, C], classes [B], Crammer and Singer 2001):
    ``max(0, m + max_{j != y} f_j - f_y)`` -> [B].

    Args:
        margin: m, above 0.
    """

    use = "Classification by margin; right answers beyond it cost nothing."
    avoid = "Calibrated probabilities are wanted (cross_entropy)."
    citation = "Cortes, Vapnik: Support-vector networks, 1995; Crammer, Singer: JMLR 2001"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        require(margin > 0, "`margin` must be above 0", f"margin={margin}")
        self.margin = margin

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() == target.dim() + 1 and prediction.shape[1] > 1:
            index = target.long().unsqueeze(1)
            right = prediction.gather(1, index).squeeze(1)
            rival = prediction.scatter(1, index, -torch.inf).amax(1)
            return per_sample((self.margin + rival - right).clamp(min=0))
        sign = torch.where(target > 0, 1.0, -1.0).view_as(prediction)
        return per_sample((self.margin - sign * prediction).clamp(min=0))
