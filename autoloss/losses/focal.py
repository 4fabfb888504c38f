"""The focal loss, sigmoid or softmax."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape, several_classes


class Focal(Loss):
    """``-alpha_t (1 - p_t)^gamma log p_t``, p_t the probability of the truth.

    Softmax form for logits [B, C, ...] with classes [B, ...]; sigmoid form for logits and 0/1 targets
    of one shape. Both -> [B]. gamma = 0 is cross-entropy.

    Args:
        gamma: how much easy examples are faded, at least 0.
        alpha: weight of the positive class in [0, 1] (sigmoid form; the negative one has 1 - alpha),
            or -1 for none. The softmax form takes none.

    segmentation_models.pytorch's "multiclass" mode is one-vs-rest sigmoid, a different loss.
    """

    search_space = {"gamma": Interval(0.0, 5.0)}
    use = "Many easy examples drown few hard ones (dense detection, imbalance)."
    avoid = "Labels are noisy: wrong labels are the hardest examples."
    citation = "Lin et al.: Focal loss for dense object detection, ICCV 2017, arXiv:1708.02002"

    def __init__(self, gamma: float = 2.0, alpha: float = -1.0) -> None:
        super().__init__()
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        require(alpha == -1 or 0 <= alpha <= 1, "`alpha` must lie in [0, 1] or be -1 for none", f"alpha={alpha}")
        self.gamma, self.alpha = gamma, alpha

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() == target.dim() + 1:
            several_classes(prediction, target)
            entropy = functional.cross_entropy(prediction, target.long(), reduction="none")
        else:
            prediction, target = same_shape(prediction, target)
            entropy = functional.binary_cross_entropy_with_logits(prediction, target, reduction="none")
        # The base must not reach 0: the slope of 0^gamma is infinite for gamma < 1.
        wrong = (-(-entropy).expm1()).clamp(min=1e-12)
        loss = wrong**self.gamma * entropy
        if self.alpha >= 0 and prediction.dim() == target.dim():
            loss = loss * (self.alpha * target + (1 - self.alpha) * (1 - target))
        return per_sample(loss)
