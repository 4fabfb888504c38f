"""The soft Jaccard loss (intersection over union)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autoloss.core.space import Interval
from autoloss.losses._overlap import Overlap


class Jaccard(Overlap):
    """``1 - (I + s) / (U + s)``, ``I = sum p g``, ``U = sum p + sum g - I``, for each sample, mean over classes -> [B].

    Logits [B, C, ...] with classes [B, ...] take a softmax, logits and 0/1 targets of one shape a
    sigmoid; sums run over the pixels of one sample.

    Args:
        smooth: s, at least 0; makes the loss 0 where both the sample and the prediction are empty.
        ignore_index: a label whose pixels are left out; none by default.
        class_weights: shares of the classes in the mean, at least 0 (such as 0 for the background); equal by default.
    """

    search_space = {"smooth": Interval(1e-3, 10.0, log=True)}
    use = "Segmentation that is judged by intersection over union."
    avoid = "The hard index itself is wanted: lovasz is nearer to it. Calibrated probabilities are wanted."
    outliers = "A wrongly labelled pixel counts by its share of the union."
    imbalance = "Classes count equally, however few pixels they have; true negatives do not count."
    gradients = "Steeper than those of dice for bad answers, flatter for good ones."
    citation = "Rahman, Wang: Optimizing intersection-over-union in deep neural networks, ISVC 2016"

    def __init__(
        self, smooth: float = 1.0, ignore_index: int | None = None, class_weights: Sequence[float] = ()
    ) -> None:
        super().__init__(smooth, ignore_index, class_weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.over_classes(1 - self.index(prediction, target, 1.0, 1.0, self.smooth))
