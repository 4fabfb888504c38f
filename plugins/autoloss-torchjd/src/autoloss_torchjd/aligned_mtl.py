"""Aligned-MTL, by TorchJD."""

from __future__ import annotations

import torch
from torch import Tensor
from torchjd.aggregation import AlignedMTLWeighting

from autoloss import Choice, require
from autoloss_torchjd.gramian import Gramian, Preference

MODES = ("min", "median", "rmse")


class AlignedMtl(Gramian):
    """Gives the gradients one scale along their principal components: weights ``B p``, ``B`` from the Gram matrix.

    Args:
        pref_vector: p, by loss name or in the order of the losses; 1 for each by default.
        scale_mode: the singular value that all others are set to: ``min``, ``median`` or ``rmse`` (mean).
    """

    precision = torch.float32
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"scale_mode": Choice(MODES)}
    use = "Gradients that conflict or dominate one another; no solver needed."
    avoid = "Nearly parallel gradients with scale_mode=min: the smallest singular value decides the step."
    citation = "Senushkin et al.: Independent component alignment for multi-task learning, CVPR 2023"

    def __init__(self, pref_vector: Preference = None, scale_mode: str = "min") -> None:
        super().__init__()
        require(scale_mode in MODES, f"`scale_mode` must be one of {', '.join(MODES)}", f"it is {scale_mode!r}")
        self.pref_vector = pref_vector
        self.torchjd = self.made(lambda: AlignedMTLWeighting(scale_mode=scale_mode))

    def allocate(self, size: int) -> None:
        self.preferred = self.preference(self.pref_vector)

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        self.torchjd.pref_vector = self.preferred[here]
        return self.torchjd(gram)
