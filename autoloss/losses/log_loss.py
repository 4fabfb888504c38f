"""Cross-entropy of probabilities."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.losses._labels import binary_labels, check_class_weights, class_labels, class_weights, probabilities


class LogLoss(Loss):
    """``-log p_target`` of probabilities, not logits: [B, C, ...] with classes [B, ...], or both of one shape -> [B].

    Of one shape (targets y in [0, 1]): ``-y log p - (1 - y) log(1 - p)``, mean over labels. A
    probability below eps costs ``-log eps``, with the slope ``1 / eps``: finite at 0, and not 0.

    Args:
        eps: the least probability, in (0, 0.5).
        class_weights: a factor for each class, at least 0; none by default.

    torch's ``binary_cross_entropy`` cuts the logarithm at -100, and is refused under autocast.
    """

    takes = ("class_chances", "chances")
    use = "A model that gives probabilities itself: mixtures, ensembles, calibrated models, models of others."
    avoid = "There are logits: cross_entropy and binary_cross_entropy are exact where probabilities round to 0."
    outliers = "A wrong label costs -log eps at most."
    imbalance = "Each sample counts equally, so that frequent classes dominate; class_weights corrects this."
    gradients = "-1 / p: very large for confident mistakes; clip them."
    citation = "folklore"

    def __init__(self, eps: float = 1e-7, class_weights: Sequence[float] = ()) -> None:
        super().__init__()
        require(0 < eps < 0.5, "`eps` must lie in (0, 0.5)", f"eps={eps}")
        check_class_weights(class_weights)
        self.eps, self.class_weights = eps, tuple(class_weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        probabilities(self, prediction, "log_loss takes probabilities (binary_cross_entropy takes logits), which")
        if prediction.dim() == target.dim():
            prediction, target = binary_labels(self, prediction, target)
            return per_sample(target * self._cost(prediction) + (1 - target) * self._cost(1 - prediction))
        labels, _ = class_labels(self, prediction, target)
        cost = self._cost(prediction.gather(1, labels.unsqueeze(1)).squeeze(1))
        weights = class_weights(self.class_weights, prediction)
        return per_sample(cost if weights is None else cost * weights[labels])

    def _cost(self, probability: Tensor) -> Tensor:
        return -(probability + (self.eps - probability.detach()).clamp(min=0)).log()
