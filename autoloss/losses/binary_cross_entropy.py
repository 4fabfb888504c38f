"""Sigmoid cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.core.tensors.constants import constant
from autoloss.losses._labels import binary_labels


class BinaryCrossEntropy(Loss):
    """``-p y log s(z) - (1 - y) log(1 - s(z))`` of logits z, mean over labels: [B, ...] -> [B].

    Args:
        positive_weight: p, the factor of the positive term, above 0; balances rare positives. One
            number, or one for each label (the last dimension). The number of negatives over that of
            positives is usual.
    """

    takes = ("binary",)
    search_space = {"positive_weight": Interval(0.1, 10.0, log=True)}
    use = "Yes or no, for one or several labels at once."
    avoid = "Exactly one of several classes holds (cross_entropy)."
    outliers = "A wrong label costs without bound, in proportion to the logit."
    imbalance = "The frequent answer dominates; positive_weight corrects this, for each label on its own."
    gradients = "Predicted minus true probability: bounded, and largest for confident mistakes."
    citation = "folklore"

    def __init__(self, positive_weight: float | Sequence[float] = 1.0) -> None:
        super().__init__()
        given = [positive_weight] if isinstance(positive_weight, (int, float)) else list(positive_weight)
        good = bool(given) and all(weight > 0 for weight in given)
        require(good, "`positive_weight` must be above 0", f"positive_weight={positive_weight}")
        self.positive_weight = positive_weight

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = binary_labels(self, prediction, target)
        weight = self._weight(prediction)
        if weight.requires_grad:  # torch's has no derivative with respect to it
            far = functional.softplus(-prediction)
            return per_sample((1 - target) * prediction + (1 + (weight - 1) * target) * far)
        return per_sample(
            functional.binary_cross_entropy_with_logits(prediction, target, reduction="none", pos_weight=weight)
        )

    def _weight(self, prediction: Tensor) -> Tensor:
        given = self.positive_weight
        if isinstance(given, Tensor):
            return given.to(prediction.dtype)
        if isinstance(given, (int, float)):
            return prediction.new_full((), given)
        labels = prediction.shape[-1] if prediction.dim() > 1 else 0
        require(
            len(given) == labels,
            "`positive_weight` must have a number for each label",
            f"there are {len(given)} for a prediction of {list(prediction.shape)}",
        )
        return constant(tuple(float(weight) for weight in given), prediction.device).to(prediction.dtype)
