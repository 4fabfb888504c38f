"""The soft Dice loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.losses._shapes import same_shape, several_classes


class Dice(Loss):
    """``1 - (2 sum p g + s) / (sum p + sum g + s)`` for each sample, mean over classes.

    Logits [B, C, ...] with classes [B, ...] take a softmax, logits and 0/1 targets of one shape a
    sigmoid; sums run over the pixels of one sample. Both -> [B].

    Args:
        smooth: s, at least 0; keeps an empty sample at 0 loss for an empty prediction.
    """

    use = "Segmentation of regions that are small against the background."
    avoid = "Pixel probabilities must be calibrated; very small batches of tiny regions (noisy)."
    citation = "Milletari, Navab, Ahmadi: V-Net, 3DV 2016, arXiv:1606.04797 (here with plain sums below)"

    def __init__(self, smooth: float = 1.0) -> None:
        super().__init__()
        require(smooth >= 0, "`smooth` must be at least 0", f"smooth={smooth}")
        self.smooth = smooth

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() == target.dim() + 1:
            several_classes(prediction, target)
            classes = prediction.shape[1]
            probability = prediction.softmax(1)
            truth = functional.one_hot(target.long(), classes).movedim(-1, 1).to(prediction.dtype)
        else:
            prediction, target = same_shape(prediction, target)
            probability, truth = prediction.sigmoid().unsqueeze(1), target.unsqueeze(1)
        probability, truth = probability.unsqueeze(-1).flatten(2), truth.unsqueeze(-1).flatten(2)
        overlap = (probability * truth).sum(2)
        total = (probability + truth).sum(2)
        # Without smoothing an empty class would be 0 / 0.
        return (1 - (2 * overlap + self.smooth) / (total + self.smooth).clamp(min=1e-7)).mean(1)
