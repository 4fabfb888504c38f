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
        smooth: s, at least 0; makes the loss 0 where both the sample and the prediction are empty.
        ignore_index: a label whose pixels are left out; none by default.
        class_weights: shares of the classes in the mean, at least 0 (such as 0 for the background); equal by default.

    segmentation_models.pytorch also sums over the batch, which gives other values: there a sample's
    loss depends on the other samples.
    """

    search_space = {"smooth": Interval(1e-3, 10.0, log=True)}
    use = "Segmentation of regions that are small against the background."
    avoid = "Pixel probabilities must be calibrated; batches are very small and regions tiny (noisy)."
    outliers = "A wrongly labelled pixel counts by its share of the region: a lot in a small one."
    imbalance = "Classes count equally, however few pixels they have; true negatives do not count at all."
    gradients = "Bounded and uneven: larger at pixels of small regions. They vanish for regions missed with certainty."
    citation = "Milletari, Navab, Ahmadi: V-Net, 3DV 2016, arXiv:1606.04797 (here with plain sums below)"

    def __init__(
        self, smooth: float = 1.0, ignore_index: int | None = None, class_weights: Sequence[float] = ()
    ) -> None:
        super().__init__(smooth, ignore_index, class_weights)

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        # Numerator and denominator are halved: 2 sum p g + s is twice TP + s / 2.
        return self.over_classes(1 - self.index(prediction, target, 0.5, 0.5, self.smooth / 2))
