"""Random predictions and targets of the shapes that losses take, for their suite."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Sample = tuple[Tensor, Tensor]


def regression(batch: int, *shape: int) -> Sample:
    """Predictions and targets [B, *shape], an error of about 1."""
    return torch.randn(batch, *shape), torch.randn(batch, *shape)


def classes(batch: int, number: int = 5, *shape: int) -> Sample:
    """Logits [B, C, *shape] and the indices of the true classes [B, *shape]."""
    return 2 * torch.randn(batch, number, *shape), torch.randint(number, (batch, *shape))


def binary(batch: int, *shape: int) -> Sample:
    """Logits and targets in {0, 1} (integers), both [B, *shape]."""
    return 2 * torch.randn(batch, *shape), torch.randint(2, (batch, *shape))


def _chances(batch: int) -> Sample:
    prediction, target = binary(batch, 3)
    return prediction.sigmoid(), target


def _class_chances(batch: int) -> Sample:
    prediction, target = classes(batch)
    return prediction.softmax(1), target


# Of each kind in autoloss.core.loss.TAKES, one or more samples.
SAMPLES: dict[str, tuple[Callable[[int], Sample], ...]] = {
    "numbers": (lambda batch: regression(batch, 3), lambda batch: regression(batch, 2, 4, 4)),
    "counts": (lambda batch: (torch.randn(batch, 3), torch.poisson(torch.rand(batch, 3) * 4)),),
    "normal": (lambda batch: (torch.randn(batch, 6), torch.randn(batch, 3)),),
    "normals": (lambda batch: (torch.randn(batch, 6), torch.randn(batch, 6)),),
    "images": (lambda batch: regression(batch, 2, 4, 5),),
    "binary": (binary, lambda batch: binary(batch, 4, 4)),
    "classes": (classes,),
    "pixels": (lambda batch: classes(batch, 3, 4, 4),),
    "mixtures": (lambda batch: (2 * torch.randn(batch, 5), torch.randn(batch, 5).softmax(1)),),
    "logits": (lambda batch: regression(batch, 5),),
    "chances": (_chances,),
    "class_chances": (_class_chances,),
    "vectors": (lambda batch: regression(batch, 4),),
    "directions": (lambda batch: regression(batch, 3, 4, 4),),
    "vector_pairs": (lambda batch: (torch.randn(batch, 2, 4), 2 * torch.randint(2, (batch,)) - 1),),
    "triplets": (lambda batch: (torch.randn(batch, 3, 4), torch.zeros(batch, dtype=torch.int64)),),
    "embeddings": (lambda batch: (torch.randn(batch, 4), torch.arange(batch) // 2 % 5),),
    "game": (regression, lambda batch: regression(batch, 1, 4, 4)),
}
BOUNDED = ("chances", "class_chances")  # of these a prediction cannot be multiplied
