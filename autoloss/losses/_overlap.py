"""Soft sets of pixels: what prediction and truth share, and what only one of them has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.loss import Loss
from autoloss.losses._labels import binary_labels, class_labels, class_weights


def areas(
    loss: Loss, prediction: Tensor, target: Tensor, ignore_index: int | None = None
) -> tuple[Tensor, Tensor, bool]:
    """Probability and truth of each pixel, [B, C, P] each, and whether they are of a sigmoid.

    Logits [B, C, ...] with classes [B, ...] take a softmax; logits and 0/1 targets of one shape a
    sigmoid (C = 1). Pixels to ignore have both 0.
    """
    binary = prediction.dim() != target.dim() + 1
    keep = None
    if binary:
        prediction, target = binary_labels(loss, prediction, target)
        probability, truth = prediction.sigmoid().unsqueeze(1), target.unsqueeze(1)
    else:
        labels, keep = class_labels(loss, prediction, target, ignore_index)
        probability = prediction.softmax(1)
        # Not one_hot: on some devices it looks at the largest label, which waits.
        classes = torch.arange(prediction.shape[1], device=labels.device).view(1, -1, *[1] * (labels.dim() - 1))
        truth = (labels.unsqueeze(1) == classes).to(prediction.dtype)
    if keep is not None:
        probability, truth = (torch.where(keep.unsqueeze(1), x, 0.0) for x in (probability, truth))
    return probability.unsqueeze(-1).flatten(2), truth.unsqueeze(-1).flatten(2), binary


def over_classes(values: Tensor, weights: Sequence[float]) -> Tensor:
    """The mean of ``values`` [B, C] over the classes, by their ``weights``, [B]; plain without any."""
    factors = class_weights(weights, values)
    return values.mean(1) if factors is None else (values * factors).sum(1) / factors.sum()


def tversky_index(probability: Tensor, truth: Tensor, alpha: float, beta: float, smooth: float) -> Tensor:
    """``(TP + s) / (TP + alpha FP + beta FN + s)`` of soft sets [B, C, P], [B, C]."""
    shared = (probability * truth).sum(2)
    extra, missed = probability.sum(2) - shared, truth.sum(2) - shared
    # Without smoothing an empty class would be 0 / 0.
    return (shared + smooth) / (shared + alpha * extra + beta * missed + smooth).clamp(min=1e-7)
