"""A soft bound on the norm of weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.penalty import Penalty, at_least_float32
from autoloss.core.space import Interval


class WeightClip(Penalty):
    """``sum_w max(0, ||w||_2 - C)^2`` over the tensors w, by the norm of all their entries -> scalar.

    The gradient is ``2 (||w|| - C) w / ||w||`` beyond C and 0 within it, at ``||w|| = 0`` too.

    Args:
        radius: C, at least 0.

    >>> WeightClip(radius=1.0)([torch.tensor([3.0, 4.0])])
    tensor(16.)
    """

    search_space = {"radius": Interval(0.1, 100.0, log=True)}
    use = "Keeping weights in a ball without a force on those inside: Lipschitz bounds, stable recurrences."
    avoid = "All weights should shrink (weight decay). A hard bound is wanted: clip after the step."
    citation = "folklore (quadratic exterior penalty)"

    def __init__(self, radius: float = 1.0) -> None:
        super().__init__()
        require(radius >= 0, "`radius` must be at least 0", f"radius={radius}")
        self.radius = radius

    def forward(self, parameters: Sequence[Tensor]) -> Tensor:
        norms = torch.stack([torch.linalg.vector_norm(p) for p in at_least_float32(parameters)])
        return (norms - self.radius).clamp(min=0).square().sum()
