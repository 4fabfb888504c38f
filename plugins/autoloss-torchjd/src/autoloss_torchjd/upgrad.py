"""UPGrad, by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import UPGradWeighting
from torchjd.linalg import QuadprogProjector

from autoloss import Interval
from autoloss_torchjd.gramian import Gramian, Preference


class Upgrad(Gramian):
    """Projects each loss's gradient onto the cone that increases no loss, and sums the projections.

    Args:
        pref_vector: factor of each projection, by loss name or in the order of the losses; 1 for
            each by default. (TorchJD's 1/K would divide the learning rate by K.)
        norm_eps: trace of the Gram matrix below which gradients count as 0; it is K here.
        reg_eps: share of the identity added to the normalised Gram matrix.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"reg_eps": Interval(1e-6, 1e-2, log=True)}
    use = "Conflicting gradients, and no loss may be made worse by the step."
    avoid = "Many losses with heavy heads: K gradients and K quadratic programs a step."
    citation = "Quinton, Rey: Jacobian descent for multi-objective optimization, 2024, arXiv:2406.16232"

    def __init__(self, pref_vector: Preference = None, norm_eps: float = 1e-4, reg_eps: float = 1e-4) -> None:
        super().__init__()
        self.pref_vector = pref_vector
        projector = self.made(lambda: QuadprogProjector(norm_eps=norm_eps, reg_eps=reg_eps))
        self.torchjd = self.made(lambda: UPGradWeighting(projector=projector))

    def allocate(self, size: int) -> None:
        self.preferred = self.preference(self.pref_vector)

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        self.torchjd.pref_vector = self.preferred[here]
        return self.torchjd(gram)
