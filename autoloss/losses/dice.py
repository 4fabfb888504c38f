"""The soft Dice loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._labels import check_class_weights
from autoloss.losses._overlap import areas, over_classes, tversky_index


class Dice(Loss):
    """``1 - (2 sum p g + s) / (sum p + sum g + s)`` for each sample, mean over classes.

    Logits [B, C, ...] with classes [B, ...] take a softmax, logits and 0/1 targets of one shape a
    sigmoid; sums run over the pixels of one sample. Both -> [B].

    Args:
        smooth: s, at least 0; keeps an empty sample at 0 loss for an empty prediction.
        ignore_index: a label whose pixels are left out; none by default.
        class_weights: shares of the classes in the mean, at least 0 (0 for the background, say); alike by default.

    Sums over the batch as well (segmentation_models.pytorch) would give other values: a sample's
    loss would depend on its neighbours.
    """

    takes = ("pixels", "classes", "binary")
    search_space = {"smooth": Interval(1e-3, 10.0, log=True)}
    use = "Segmentation of regions that are small against the background."
    avoid = "Pixel probabilities must be calibrated; very small batches of tiny regions (noisy)."
    outliers = "A wrongly labelled pixel counts as its share of the region: much in a small one."
    imbalance = "Classes count alike, however few pixels they have; true negatives do not count at all."
    gradients = "Bounded, and uneven: a pixel of a small region pulls harder. They die for regions surely missed."
    citation = "Milletari, Navab, Ahmadi: V-Net, 3DV 2016, arXiv:1606.04797 (here with plain sums below)"

    def __init__(
        self, smooth: float = 1.0, ignore_index: int | None = None, class_weights: Sequence[float] = ()
    ) -> None:
        super().__init__()
        require(smooth >= 0, "`smooth` must be at least 0", f"smooth={smooth}")
        check_class_weights(class_weights)
        self.class_weights = tuple(class_weights)
        self.smooth, self.ignore_index = smooth, ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        probability, truth, _ = areas(self, prediction, target, self.ignore_index)
        # Both sides halved: 2 sum p g + s is twice TP + s / 2.
        return over_classes(1 - tversky_index(probability, truth, 0.5, 0.5, self.smooth / 2), self.class_weights)
