"""FairGrad, by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import FairGradWeighting

from autoloss import Interval, require
from autoloss_torchjd.gramian import Gramian


class Fairgrad(Gramian):
    """Finds w > 0 with ``(G w)_k = w_k^(-1 / alpha)``: alpha-fair shares of the decrease.

    The scale is the method's own: it grows as gradients shrink, like ``|g|^(-2 alpha / (1 + alpha))``.

    Args:
        alpha: 0 is the plain mean, 1 proportional fairness (Nash-MTL), large max-min. TorchJD has no default.
        max_iters: iterations of the solver; 100 K if ``None``.
    """

    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"alpha": Interval(0.5, 10.0, log=True)}
    use = "How evenly losses share the decrease is a choice to search over."
    avoid = "Training with a fixed learning rate down to tiny gradients (wrap it in normalise)."
    citation = "Ban, Ji: Fair resource allocation in multi-task learning, ICML 2024, arXiv:2402.15638"

    # Solved at scale 1, where the solver's absolute tolerances mean something, and scaled back.
    rescaled = False

    def __init__(self, alpha: float = 1.0, max_iters: int | None = None) -> None:
        super().__init__()
        require(alpha >= 0, "`alpha` must be at least 0", f"alpha={alpha}")
        self.alpha = alpha
        self.torchjd = self.made(lambda: FairGradWeighting(alpha, max_iters))

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        size = gram.diagonal().mean()
        if size == 0:
            return gram.new_ones(len(here))
        return self.torchjd(gram / size) * size ** (-self.alpha / (1 + self.alpha))
