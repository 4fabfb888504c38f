"""Soft sets of pixels: what prediction and truth share, and what only one of them has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.losses._labels import binary_labels, check_class_weights, class_labels, class_weights


class Overlap(Loss):
    """A loss that measures, class by class, how far soft sets of pixels overlap."""

    takes = ("pixels", "classes", "binary")

    def __init__(self, smooth: float, ignore_index: int | None, weights: Sequence[float]) -> None:
        super().__init__()
        require(smooth >= 0, "`smooth` must be at least 0", f"smooth={smooth}")
        check_class_weights(weights)
        self.smooth, self.ignore_index, self.class_weights = smooth, ignore_index, tuple(weights)

    def index(self, prediction: Tensor, target: Tensor, alpha: float, beta: float, smooth: float) -> Tensor:
        """``(TP + s) / (TP + alpha FP + beta FN + s)`` of the soft sets of each class, [B, C]."""
        probability, truth, _ = areas(self, prediction, target, self.ignore_index)
        shared = (probability * truth).sum(2)
        extra, missed = probability.sum(2) - shared, truth.sum(2) - shared
        # Without smoothing an empty class would be 0 / 0.
        return (shared + smooth) / (shared + alpha * extra + beta * missed + smooth).clamp(min=1e-7)

    def over_classes(self, values: Tensor) -> Tensor:
        """The mean of ``values`` [B, C] over the classes, weighted by ``class_weights``, [B]."""
        factors = class_weights(self.class_weights, values)
        return values.mean(1) if factors is None else (values * factors).sum(1) / factors.sum()


def check_costs(alpha: float, beta: float) -> None:
    """An error unless both costs are at least 0, and at least one is above 0."""
    good = alpha >= 0 and beta >= 0 and alpha + beta > 0
    require(good, "`alpha` and `beta` must be at least 0, and at least one above 0", f"alpha={alpha}, beta={beta}")


def areas(
    loss: Loss, prediction: Tensor, target: Tensor, ignore_index: int | None = None
) -> tuple[Tensor, Tensor, bool]:
    """The probability and the truth of each pixel, [B, C, P] each, and whether they come from a sigmoid.

    Logits [B, C, ...] with classes [B, ...] take a softmax; logits and 0/1 targets of one shape a
    sigmoid (C = 1). Both are 0 at pixels to ignore.
    """
    binary = prediction.dim() != target.dim() + 1
    keep = None
    if binary:
        prediction, target = binary_labels(loss, prediction, target)
        probability, truth = prediction.sigmoid().unsqueeze(1), target.unsqueeze(1)
    else:
        labels, keep = class_labels(loss, prediction, target, ignore_index)
        probability = prediction.softmax(1)
        # Not one_hot: on some devices it reads the largest label, which waits for the device.
        classes = torch.arange(prediction.shape[1], device=labels.device).view(1, -1, *[1] * (labels.dim() - 1))
        truth = (labels.unsqueeze(1) == classes).to(prediction.dtype)
    if keep is not None:
        probability, truth = (torch.where(keep.unsqueeze(1), x, 0.0) for x in (probability, truth))
    return probability.unsqueeze(-1).flatten(2), truth.unsqueeze(-1).flatten(2), binary
