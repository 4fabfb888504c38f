"""Labels that a loss can use: in range, and without those to ignore."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.tensors.constants import row
from autoloss.losses._shapes import same_shape, several_classes


def class_labels(
    loss: Loss, prediction: Tensor, target: Tensor, ignore_index: int | None = None
) -> tuple[Tensor, Tensor | None]:
    """The labels [B, ...] as int64 in [0, C), and which of them to keep (``None``: all).

    Any other label is an error. On an accelerator torch's own check would leave the device unusable for
    the process, so there the label counts as the nearest class until the error is reported.
    """
    several_classes(prediction, target)
    if ignore_index is None and target.dtype is torch.int64 and prediction.dim() == target.dim() + 1:
        # Before any message is written: this runs in each step.
        sizes = prediction.shape
        if (sizes[0], *sizes[2:]) == target.shape and loss.notices.within(target, sizes[1]):
            return target, None
    require(
        prediction.dim() == target.dim() + 1 and [len(prediction), *prediction.shape[2:]] == list(target.shape),
        "Logits [B, C, ...] must come with class labels [B, ...]",
        f"the prediction is {list(prediction.shape)} and the target is {list(target.shape)}",
    )
    count, labels = prediction.shape[1], target.long()
    wrong = (labels < 0) | (labels >= count)
    if target.is_floating_point():
        wrong = wrong | (labels != target)
    keep = None
    if ignore_index is not None:
        keep = labels != ignore_index
        wrong, labels = wrong & keep, labels * keep
    loss.notices.forbid(f"Class labels must be whole and lie in [0, {count - 1}]", wrong, target)
    return (labels if loss.notices.at_hand(labels) else labels.clamp(0, count - 1)), keep


def binary_labels(loss: Loss, prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The prediction and the target in their common dtype; another shape or a target outside [0, 1] is an error."""
    prediction, target = same_shape(prediction, target)
    loss.notices.forbid("Binary targets must lie in [0, 1]", (target < 0) | (target > 1) | target.isnan(), target)
    return prediction, target


def probabilities(loss: Loss, values: Tensor, what: str = "Probabilities") -> None:
    """An error for a value outside [0, 1]."""
    found = values.detach()
    loss.notices.forbid(f"{what} must lie in [0, 1]", ~((found >= 0) & (found <= 1)), found)


def class_weights(weights: Sequence[float | Tensor], prediction: Tensor) -> Tensor | None:
    """``weights`` as a tensor [C] like ``prediction`` [B, C, ...]; ``None`` without any."""
    if not len(weights):
        return None
    require(
        len(weights) == prediction.shape[1],
        "`class_weights` must have a weight for each class",
        f"there are {len(weights)} for {prediction.shape[1]} classes",
    )
    return row(weights, prediction)


def check_class_weights(weights: Sequence[float]) -> None:
    """An error unless all weights are at least 0, and at least one is above 0."""
    good = not len(weights) or (all(w >= 0 for w in weights) and any(w > 0 for w in weights))
    require(good, "`class_weights` must be at least 0, and at least one above 0", f"class_weights={list(weights)}")
