"""The angle between vectors."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape


class Cosine(Loss):
    """``1 - cos(u, v)`` of vectors that should be alike, ``max(0, cos(u, v) - margin)`` of others -> [B].

    Predictions [B, D] should be like their targets [B, D]; a field of vectors [B, D, H, W] (normals) has its mean over
    the pixels. Pairs [B, 2, D] come with targets [B] that
    say which should be alike: 1 for alike, -1 (or 0) for not.

    Args:
        margin: the cosine up to which vectors that are not alike cost nothing, in [-1, 1].
    """

    takes = ("vectors", "directions", "vector_pairs")
    search_space = {"margin": Interval(0.0, 0.5)}
    unlearnable = ("margin",)
    use = "Directions matter and lengths do not: embeddings, normals, text."
    avoid = "Lengths carry information (mse). Vectors may be 0: they have no direction, and cost 1."
    outliers = "Bounded by 2."
    imbalance = "Pairs count equally; pairs that are not alike cost nothing below the margin."
    gradients = "Orthogonal to the vector, and inversely proportional to its length: long vectors hardly turn."
    citation = "folklore"

    def __init__(self, margin: float = 0.0) -> None:
        super().__init__()
        require(-1 <= margin <= 1, "`margin` must lie in [-1, 1]", f"margin={margin}")
        self.margin = margin

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() == target.dim() >= 2:
            prediction, target = same_shape(prediction, target)
            return per_sample(1 - functional.cosine_similarity(prediction, target, dim=1))
        require(
            prediction.dim() == 3 and prediction.shape[1] == 2 and target.shape == prediction.shape[:1],
            "cosine takes [B, D, ...] with the same shape, or pairs [B, 2, D] with [B]",
            f"the prediction is {list(prediction.shape)} and the target is {list(target.shape)}",
        )
        wrong = (target != 1) & (target != 0) & (target != -1)
        self.notices.forbid("Targets of pairs must be 1, or -1 or 0", wrong, target)
        cosine = functional.cosine_similarity(prediction[:, 0], prediction[:, 1], dim=1)
        return torch.where(target > 0, 1 - cosine, (cosine - self.margin).clamp(min=0))
