"""PCGrad, by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import PCGradWeighting

from autoloss_torchjd.gramian import Gramian, seeded


class Pcgrad(Gramian):
    """Takes from each gradient what conflicts with the others, in random order, and sums; no conflict gives 1 each.

    Args:
        seed: of the orders, which are a function of it and the step: every rank and every resumed run draws alike.
    """

    claims = frozenset({"common_scale_invariant"})
    use = "Conflicting gradients of like scale."
    avoid = "A direction that never increases a loss is needed: three losses can still conflict (upgrad)."
    citation = "Yu et al.: Gradient surgery for multi-task learning, NeurIPS 2020, arXiv:2001.06782"

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.torchjd = PCGradWeighting()

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        with seeded(self.seed, step):
            return self.torchjd(gram)
