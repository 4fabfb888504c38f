"""IMTL-G, by TorchJD."""

from __future__ import annotations

import torch
from torch import Tensor
from torchjd.aggregation import IMTLGWeighting

from autoloss_torchjd.gramian import Gramian


class ImtlG(Gramian):
    """Weights under which the sum has the same projection onto every unit gradient; they sum to K.

    TorchJD's weights, which sum to 1, times the number of present losses. They may be negative.
    """

    precision = torch.float32
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    use = "Losses of unlike scale that should make equal progress; a closed form."
    avoid = "Nearly opposite gradients: weights grow and change sign (wrap it in clamp)."
    citation = "Liu et al.: Towards impartial multi-task learning, ICLR 2021"

    def __init__(self) -> None:
        super().__init__()
        self.torchjd = IMTLGWeighting()

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        return len(here) * self.torchjd(gram)
