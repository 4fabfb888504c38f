"""Softmax cross-entropy."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import several_classes


class CrossEntropy(Loss):
    """``-log softmax(prediction)_target``: logits [B, C, ...] and classes [B, ...] (or probabilities) -> [B].

    Args:
        label_smoothing: eps in [0, 1]; ``(1 - eps) CE + eps / C sum_c -log p_c`` as in torch.
    """

    search_space = {"label_smoothing": Interval(0.0, 0.3)}
    use = "One class of several."
    avoid = "Several classes may hold at once (binary_cross_entropy); rare classes drown (focal, dice)."
    citation = "folklore; label smoothing: Szegedy et al., CVPR 2016, arXiv:1512.00567"

    def __init__(self, label_smoothing: float = 0.0) -> None:
        super().__init__()
        require(0 <= label_smoothing <= 1, "`label_smoothing` must lie in [0, 1]", f"label_smoothing={label_smoothing}")
        self.label_smoothing = label_smoothing

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        smoothing = self.label_smoothing
        return per_sample(functional.cross_entropy(prediction, target, reduction="none", label_smoothing=smoothing))
