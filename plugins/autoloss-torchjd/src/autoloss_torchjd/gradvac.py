"""GradVac, by TorchJD."""

from __future__ import annotations

import torch
from torch import Tensor
from torchjd.aggregation import GradVacWeighting

from autoloss import Interval, Signals
from autoloss_torchjd.gramian import Gramian, seeded


class Gradvac(Gramian):
    """Turns each gradient towards the others until their cosines are what they were on average, and sums.

    The averages are state of this weighting: in the checkpoint, and untouched by absent losses.

    Args:
        beta: share of the new cosine in the average, in [0, 1].
        eps: added to denominators, at least 0.
        seed: of the orders, which are a function of it and the step.
    """

    cosines: Tensor
    claims = frozenset({"common_scale_invariant"})
    search_space = {"beta": Interval(0.01, 0.9, log=True)}
    use = "Many related tasks whose gradients usually agree to some degree."
    avoid = "Few steps: the averages start at 0, where this is pcgrad."
    citation = "Wang et al.: Gradient vaccine, ICLR 2021, arXiv:2010.05874"

    def __init__(self, beta: float = 0.5, eps: float = 1e-8, seed: int = 0) -> None:
        super().__init__()
        self.seed = seed
        self.torchjd = self.made(lambda: GradVacWeighting(beta, eps))

    def allocate(self, size: int) -> None:
        self.add_state("cosines", torch.zeros(size, size), axes=2)

    def solve(self, gram: Tensor, here: Tensor, step: int) -> Tensor:
        return self._with_state(gram, here, step)[0]

    def update(self, signals: Signals) -> None:
        gram, here = self.present(signals)
        if len(here) and gram.isfinite().all():
            cosines = self.cosines.cpu()
            cosines[here.unsqueeze(1), here] = self._with_state(gram, here, signals.step)[1].to(cosines)
            self.cosines.copy_(cosines)

    def _with_state(self, gram: Tensor, here: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """The weights, and the averages afterwards."""
        # TorchJD writes its state when it is called; here it is put in before and taken out after.
        self.torchjd._phi_t = self.cosines.to("cpu", gram.dtype)[here][:, here]
        self.torchjd._state_key = (len(here), gram.dtype)
        with seeded(self.seed, step):
            weights = self.torchjd(gram)
        after = self.torchjd._phi_t
        self.torchjd.reset()
        return weights, after
