"""The error's norm over the target's."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._shapes import flat, same_shape


class RelativeL2(Loss):
    """``||prediction - target||_2 / max(||target||_2, eps)`` of each sample's vector: [B, ...] -> [B].

    Args:
        eps: the smallest norm to divide by, above 0, in the target's units.
    """

    search_space = {"eps": Interval(1e-8, 1e-1, log=True)}
    use = "Fields and signals whose scale varies from sample to sample (operator learning, PDEs)."
    avoid = "Targets near 0 are common: their errors are divided by eps. Targets are single numbers (mae)."
    outliers = "An outlying entry counts as in a norm: less than in mse, more than in mae."
    imbalance = "Samples with small targets count as much as those with large ones."
    gradients = "Of unit norm over the target's norm, however small the error is; 0 at the target."
    citation = "Li et al.: Fourier neural operator, ICLR 2021, arXiv:2010.08895"

    def __init__(self, eps: float = 1e-6) -> None:
        super().__init__()
        require(eps > 0, "`eps` must be above 0", f"eps={eps}")
        self.eps = eps

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        prediction, target = same_shape(prediction, target)
        error, target = flat(prediction - target), flat(target)
        length = torch.linalg.vector_norm(target, dim=1).clamp(min=self.eps)
        return torch.linalg.vector_norm(error, dim=1) / length
