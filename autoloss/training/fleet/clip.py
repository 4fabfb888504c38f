"""Clips the gradients of each member of a fleet by itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Clip:
    """How each member's gradient is clipped: by its norm, or coordinate by coordinate; 0 for not."""

    norm: float = 0.0
    value: float = 0.0

    def apply(self, gradients: Sequence[Tensor]) -> bool:
        """Clip ``gradients`` [M, ...] in place; ``False`` if they are not to be clipped."""
        if self.value:
            for gradient in gradients:
                gradient.clamp_(-self.value, self.value)
        if self.norm:
            norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in gradients]).norm(dim=0)
            factor = (self.norm / (norms + 1e-6)).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(factor.view(-1, *[1] * (gradient.dim() - 1)))
        return bool(self.value or self.norm)
