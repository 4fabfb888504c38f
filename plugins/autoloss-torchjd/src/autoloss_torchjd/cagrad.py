"""CAGrad, by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import CAGradWeighting

from autoloss import Interval
from autoloss_torchjd.gramian import Gramian


class Cagrad(Gramian):
    """Moves the sum of the gradients, within ``c`` times its norm, to where the worst loss falls most.

    TorchJD's weights (of the mean gradient) times the number of present losses.

    Args:
        c: radius of the ball, at least 0; 0 is the plain sum. TorchJD has no default.
        norm_eps: norm below which the combined gradient counts as 0, relative to the gradients' own.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"c": Interval(0.1, 1.0)}
    use = "Conflicting gradients, near the plain sum."
    avoid = "Large K at every step: a second-order cone program each time."
    citation = "Liu et al.: Conflict-averse gradient descent for multi-task learning, NeurIPS 2021, arXiv:2110.14048"

    def __init__(self, c: float = 0.5, norm_eps: float = 1e-4) -> None:
        super().__init__()
        self.torchjd = self.made(lambda: CAGradWeighting(c, norm_eps))

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        return len(here) * self.torchjd(gram)
