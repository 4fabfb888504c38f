"""DualProj (the projection of GEM), by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import DualProjWeighting
from torchjd.linalg import QuadprogProjector

from autoloss_torchjd.gramian import Gramian, Preference


class Dualproj(Gramian):
    """Projects the sum of the gradients onto the cone that increases no loss.

    Args:
        pref_vector: factor of each gradient in the sum, by loss name or in the order of the losses; 1 by default.
        norm_eps: trace of the Gram matrix below which gradients count as 0; it is K here.
        reg_eps: share of the identity added to the normalised Gram matrix.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    use = "As upgrad, where one quadratic program a step must do."
    avoid = "Losses of very unlike scale: the largest decides the sum that is projected."
    citation = "Lopez-Paz, Ranzato: Gradient episodic memory for continual learning, NeurIPS 2017, eq. 11"

    def __init__(self, pref_vector: Preference = None, norm_eps: float = 1e-4, reg_eps: float = 1e-4) -> None:
        super().__init__()
        self.pref_vector = pref_vector
        projector = self.made(lambda: QuadprogProjector(norm_eps=norm_eps, reg_eps=reg_eps))
        self.torchjd = self.made(lambda: DualProjWeighting(projector=projector))

    def allocate(self, size: int) -> None:
        self.preferred = self.preference(self.pref_vector)

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        self.torchjd.pref_vector = self.preferred[here]
        return self.torchjd(gram)
