"""What a prediction and its target must have in common."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError


def same_shape(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The prediction and the target in their common dtype; an error unless they have the same shape.

    [B, 1] against [B] would broadcast to [B, B], and train on nonsense. Not every kernel of torch
    takes a bfloat16 prediction (autocast) against a float32 target.
    """
    if prediction.shape != target.shape:
        raise ConfigError(
            "Prediction and target must have the same shape, but the prediction is "
            f"{list(prediction.shape)} and the target is {list(target.shape)}."
        )
    if prediction.dtype is target.dtype:
        return prediction, target
    dtype = torch.promote_types(prediction.dtype, target.dtype)
    return prediction.to(dtype), target.to(dtype)


def at_least_float32(values: Tensor) -> Tensor:
    """``values``, in float32 if they are in half precision."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def flat(values: Tensor) -> Tensor:
    """``values`` [B, ...] as [B, P]; an empty batch works too."""
    return values.flatten(1) if values.dim() > 1 else values.unsqueeze(1)


def several_classes(prediction: Tensor, target: Tensor) -> None:
    """An error unless ``prediction`` [B, C, ...] has at least two classes: a softmax over one is always 1."""
    if prediction.dim() < 2 or prediction.shape[1] < 2:
        raise ConfigError(
            "A softmax needs logits [B, C, ...] of at least two classes, but the prediction is "
            f"{list(prediction.shape)} and the target is {list(target.shape)}. For one logit, give both the same shape."
        )


def halves(values: Tensor, what: str) -> tuple[Tensor, Tensor]:
    """The means and the log-variances of ``values`` [B, 2D, ...], [B, D, ...] each; an error without two halves."""
    if values.dim() < 2 or values.shape[1] % 2:
        raise ConfigError(
            f"{what} must hold means and log-variances, [B, 2D, ...], but its shape is {list(values.shape)}."
        )
    mean, log_variance = values.chunk(2, dim=1)
    return mean, log_variance


def of_vectors(prediction: Tensor, target: Tensor) -> Tensor:
    """``prediction`` in float32 at least; an error unless it is vectors [B, D] with labels [B]."""
    if prediction.dim() != 2 or target.shape != prediction.shape[:1]:
        raise ConfigError(
            f"Vectors [B, D] must come with class labels [B], but the prediction is {list(prediction.shape)} and the "
            f"target is {list(target.shape)}."
        )
    return at_least_float32(prediction)
