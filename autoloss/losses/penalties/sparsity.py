"""The elastic net: a penalty that makes many weights nearly 0 and keeps the others moderate."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.penalty import Penalty, at_least_float32
from autoloss.core.space import Interval


class Sparsity(Penalty):
    """``alpha ||w||_1 + ||w||_2^2 / 2`` of all entries of all tensors -> scalar.

    Args:
        alpha: at least 0. The minimum of ``||w - v||^2 / 2`` plus this penalty is at ``soft(v, alpha) / 2``.

    The slope at 0 is 0. A gradient method comes near 0 and does not stay there: set weights below
    alpha times the learning rate to 0.

    >>> Sparsity(alpha=0.5)([torch.tensor([3.0, -4.0])])
    tensor(16.)
    """

    search_space = {"alpha": Interval(0.01, 10.0, log=True)}
    use = "Weights of which most should be 0: selection of inputs, pruning."
    avoid = "The optimiser already decays weights: the second part does the same."
    citation = "Zou, Hastie: Regularization and variable selection via the elastic net, JRSS B 2005"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__()
        require(alpha >= 0, "`alpha` must be at least 0", f"alpha={alpha}")
        self.alpha = alpha

    def forward(self, parameters: Sequence[Tensor]) -> Tensor:
        return torch.stack(
            [self.alpha * p.abs().sum() + p.square().sum() / 2 for p in at_least_float32(parameters)]
        ).sum()
