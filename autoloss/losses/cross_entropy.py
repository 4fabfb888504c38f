"""Softmax cross-entropy."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import check_class_weights, class_labels, class_weights, probabilities
from autoloss.losses._shapes import same_shape, several_classes


class CrossEntropy(Loss):
    """``-log softmax(prediction)_target``: logits [B, C, ...] and classes [B, ...] (or probabilities) -> [B].

    Args:
        label_smoothing: eps in [0, 1]; ``(1 - eps) CE + eps / C sum_c -log p_c`` as in torch. As a tensor it has a
            gradient, which torch's has not; so have weights of classes.
        class_weights: a factor for each class, at least 0; none by default. The mean over samples
            divides by their number, torch's by the sum of their weights.
        ignore_index: a label that is left out (of pixels, often 255 or -100); none by default, so
            that any label out of range is an error.
    """

    takes = ("classes", "pixels", "mixtures")
    search_space = {"label_smoothing": Interval(0.0, 0.3)}
    use = "One class of several."
    avoid = "Several classes may be true at once (binary_cross_entropy); rare classes hardly count (focal, dice)."
    outliers = "A wrong label costs without bound, in proportion to the logit; label_smoothing reduces this."
    imbalance = "Each sample counts equally, so that frequent classes dominate; class_weights corrects this."
    gradients = "Predicted minus true probability: bounded by 1, and largest for confident mistakes."
    citation = "folklore; label smoothing: Szegedy et al., CVPR 2016, arXiv:1512.00567"

    def __init__(
        self, label_smoothing: float = 0.0, class_weights: Sequence[float] = (), ignore_index: int | None = None
    ) -> None:
        super().__init__()
        require(0 <= label_smoothing <= 1, "`label_smoothing` must lie in [0, 1]", f"label_smoothing={label_smoothing}")
        check_class_weights(class_weights)
        self.label_smoothing, self.ignore_index = label_smoothing, ignore_index
        self.class_weights = tuple(class_weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        keep = None
        if target.is_floating_point() and target.dim() == prediction.dim():
            prediction, target = same_shape(prediction, target)
            probabilities(self, target, "Probabilities of classes")
        else:
            target, keep = class_labels(self, prediction, target, self.ignore_index)
        weights = class_weights(self.class_weights, prediction)
        smoothing = self.label_smoothing
        if isinstance(smoothing, Tensor) or any(isinstance(one, Tensor) for one in self.class_weights):
            return per_sample(_smoothed(prediction, target, weights, smoothing), keep)
        values = functional.cross_entropy(prediction, target, weights, reduction="none", label_smoothing=smoothing)
        return per_sample(values, keep)


def _smoothed(prediction: Tensor, target: Tensor, weights: Tensor | None, smoothing: Tensor | float) -> Tensor:
    """Cross-entropy whose label smoothing and weights of classes may have a gradient, [B, ...]."""
    logs = prediction.log_softmax(1)
    if weights is not None:
        logs = logs * weights.view(-1, *[1] * (prediction.dim() - 2))
    soft = target.dim() == prediction.dim()
    plain = -((logs * target).sum(1) if soft else logs.gather(1, target.unsqueeze(1)).squeeze(1))
    return plain + smoothing * (-logs.mean(1) - plain)
