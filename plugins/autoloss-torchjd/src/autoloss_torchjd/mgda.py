"""MGDA, by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import MGDAWeighting

from autoloss import Choice
from autoloss_torchjd.gramian import Gramian


class Mgda(Gramian):
    """Weights of the point of least norm in the convex hull of the gradients, by Frank-Wolfe; they sum to K.

    TorchJD's weights, which sum to 1, times the number of present losses. Frank-Wolfe stops early:
    the step may still increase a loss a little.

    Args:
        epsilon: step size at which Frank-Wolfe stops, above 0.
        max_iters: iterations at most, at least 1.
    """

    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    search_space = {"max_iters": Choice((20, 100, 1000))}
    use = "A Pareto-stationary point is wanted, whatever the losses' scales."
    avoid = "One loss has far smaller gradients than the others: it takes nearly all the weight."
    citation = "Desideri, C. R. Math. 2012; Sener, Koltun, NeurIPS 2018, algorithm 2"

    def __init__(self, epsilon: float = 1e-3, max_iters: int = 100) -> None:
        super().__init__()
        self.torchjd = self.made(lambda: MGDAWeighting(epsilon, max_iters))

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        return len(here) * self.torchjd(gram)
