"""The soft Dice loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autoloss.core.space import Interval
from autoloss.losses._overlap import Overlap


class Dice(Overlap):
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
        super().__init__(smooth, ignore_index, class_weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        # Both sides halved: 2 sum p g + s is twice TP + s / 2.
        return self.over_classes(1 - self.index(prediction, target, 0.5, 0.5, self.smooth / 2))
