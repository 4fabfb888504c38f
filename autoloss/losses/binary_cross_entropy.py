"""Sigmoid cross-entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape


class BinaryCrossEntropy(Loss):
    """``-p y log s(z) - (1 - y) log(1 - s(z))`` of logits z, mean over labels: [B, ...] -> [B].

    Args:
        positive_weight: p, the factor of the positive term, above 0; balances rare positives.
    """

    search_space = {"positive_weight": Interval(0.1, 10.0, log=True)}
    use = "Yes or no, for one or several labels at once."
    avoid = "Exactly one of several classes holds (cross_entropy)."
    citation = "folklore"

    def __init__(self, positive_weight: float = 1.0) -> None:
        super().__init__()
        require(positive_weight > 0, "`positive_weight` must be above 0", f"positive_weight={positive_weight}")
        self.positive_weight = positive_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        positive = prediction.new_full((), self.positive_weight)
        loss = functional.binary_cross_entropy_with_logits(prediction, target, reduction="none", pos_weight=positive)
        return per_sample(loss)
