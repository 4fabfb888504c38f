"""How far scores fall short of a margin."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.losses._labels import class_labels


def shortfall(loss: Loss, prediction: Tensor, target: Tensor, margin: float) -> Tensor:
    """``max(0, margin - y f)`` for two classes, ``max(0, margin + max_{j != y} f_j - f_y)`` for several, [B, ...]."""
    if prediction.dim() == target.dim() + 1 and prediction.shape[1] > 1:
        labels, _ = class_labels(loss, prediction, target)
        index = labels.unsqueeze(1)
        right = prediction.gather(1, index).squeeze(1)
        rival = prediction.scatter(1, index, -torch.inf).amax(1)
        return (margin + rival - right).clamp(min=0)
    require(
        target.numel() == prediction.numel() and len(target) == len(prediction),
        "Each score must have a target",
        f"the prediction is {list(prediction.shape)} and the target is {list(target.shape)}",
    )
    wrong = (target != 1) & (target != 0) & (target != -1)
    loss.notices.forbid("Targets of a margin loss must be 1 and 0, or 1 and -1", wrong, target)
    sign = torch.where(target > 0, prediction.new_ones(()), -1.0).view_as(prediction)
    return (margin - sign * prediction).clamp(min=0)
