"""The focal loss, sigmoid or softmax."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import binary_labels, check_class_weights, class_labels, class_weights
from autoloss.losses._tempered import powered


class Focal(Loss):
    """``-alpha_t (1 - p_t)^gamma log p_t``, p_t the probability of the truth.

    Softmax form for logits [B, C, ...] with classes [B, ...]; sigmoid form for logits and 0/1 targets
    of one shape. Both -> [B]. gamma = 0 is cross-entropy.

    Args:
        gamma: how strongly the weight of easy examples is reduced, at least 0.
        alpha: weight of the positive class in [0, 1] (sigmoid form; the negative one has 1 - alpha),
            or -1 for none (the paper's detector: 0.25).
        class_weights: alpha_t of each class, at least 0 (softmax form); none by default.
        ignore_index: a label that is left out (softmax form); none by default.

    Soft targets of the sigmoid form are taken as they are: ``-log p_t`` is then the cross-entropy with the target, and
    p_t the exponential of minus that, not the ``p t + (1 - p) (1 - t)`` of some implementations. For targets of 0
    and 1 both are one.

    segmentation_models.pytorch's "multiclass" mode is one-vs-rest sigmoid, a different loss. The
    mean over samples divides by their number, RetinaNet's by that of the positives.
    """

    takes = ("binary", "classes", "pixels")
    search_space = {"gamma": Interval(0.0, 5.0)}
    use = "Many easy examples outweigh a few hard ones (dense detection, imbalance)."
    avoid = "Labels are noisy: wrong labels are the hardest examples."
    outliers = "They dominate: wrong predictions keep their weight while that of the others shrinks."
    imbalance = "The easy majority counts less, by (1 - p_t)^gamma; alpha or class_weights correct the rest."
    gradients = "As in cross-entropy for confident mistakes, nearly 0 for predictions that are already right."
    citation = "Lin et al.: Focal loss for dense object detection, ICCV 2017, arXiv:1708.02002"

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float = -1.0,
        class_weights: Sequence[float] = (),
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        require(alpha == -1 or 0 <= alpha <= 1, "`alpha` must lie in [0, 1] or be -1 for none", f"alpha={alpha}")
        check_class_weights(class_weights)
        self.gamma, self.alpha, self.ignore_index = gamma, alpha, ignore_index
        self.class_weights = tuple(class_weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        keep, factor = None, None
        if prediction.dim() == target.dim() + 1:
            target, keep = class_labels(self, prediction, target, self.ignore_index)
            entropy = functional.cross_entropy(prediction, target, reduction="none")
            weights = class_weights(self.class_weights, prediction)
            factor = None if weights is None else weights[target]
        else:
            prediction, target = binary_labels(self, prediction, target)
            entropy = functional.binary_cross_entropy_with_logits(prediction, target, reduction="none")
            if self.alpha >= 0:
                factor = self.alpha * target + (1 - self.alpha) * (1 - target)
        loss = powered(-(-entropy).expm1(), self.gamma) * entropy
        return per_sample(loss if factor is None else loss * factor, keep)
