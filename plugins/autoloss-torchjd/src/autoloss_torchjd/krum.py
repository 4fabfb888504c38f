"""Multi-Krum, by TorchJD."""

from __future__ import annotations

from torch import Tensor
from torchjd.aggregation import KrumWeighting

from autoloss import require
from autoloss_torchjd.gramian import Gramian


class Krum(Gramian):
    """Keeps the gradients that lie nearest to most others, and drops the rest.

    TorchJD's weights, which sum to 1, times the number of present losses. Needs at least
    ``n_byzantine + 3`` losses, and ``n_selected``; where absent ones leave fewer, weights are equal.

    Args:
        n_byzantine: how many losses may be outliers, at least 0. TorchJD has no default.
        n_selected: how many are kept, at least 1.
    """

    claims = frozenset({"sums_to_count"})
    use = "Many losses of one kind, some of them corrupt."
    avoid = "Each loss is a task of its own: all but the selected get nothing."
    citation = "Blanchard et al.: Byzantine tolerant gradient descent, NeurIPS 2017"

    def __init__(self, n_byzantine: int = 0, n_selected: int = 1) -> None:
        super().__init__()
        self.least = max(n_byzantine + 3, n_selected)
        self.torchjd = self.made(lambda: KrumWeighting(n_byzantine, n_selected))

    def allocate(self, size: int) -> None:
        require(size >= self.least, f"Krum must have at least {self.least} losses", f"there are {size}")

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        if len(here) < self.least:
            return gram.new_ones(len(here))
        return len(here) * self.torchjd(gram)
