"""Random loss weighting."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.core.tensors.draws import shared_generator
from autoloss.core.weighting import Weighting

# Each gives logits [K]: their softmax over the present losses is the draw.
DRAWS: dict[str, Callable[[int, Generator], Tensor]] = {
    "normal": lambda size, source: torch.randn(size, generator=source),
    "uniform": lambda size, source: torch.rand(size, generator=source),
    "dirichlet": lambda size, source: torch.empty(size).exponential_(generator=source).log(),
    "bernoulli": lambda size, source: 1e3 * torch.randint(2, (size,), generator=source),
    "constrained_bernoulli": lambda size, source: 1e30 * torch.rand(size, generator=source),
}


class Rlw(Weighting):
    """Draws new weights at each optimiser step: ``w = K softmax(x)``, ``x_k`` normal.

    The paper's weights sum to 1, these to the number K of present losses. The draw depends on seed and
    step alone: it is equal on every rank, the same in a resumed run, and the same for all micro-batches
    of a step.

    Args:
        distribution: ``normal`` or ``uniform`` on [0, 1), both through a softmax; ``dirichlet``,
            uniform on the simplex; ``bernoulli``, equal weights for a random subset (all losses
            where it would be none); ``constrained_bernoulli``, everything for one random loss.
        seed: of the draws.
    """

    claims = frozenset({"sums_to_count", "common_scale_invariant"})
    search_space = {"distribution": Choice(tuple(DRAWS))}
    use = "The control of an experiment: a method that does not beat it has learned no useful weights."
    avoid = "There is any other purpose: on average these are equal weights, with more noise."
    citation = "Lin, Ye, Zhang, Tsang: Reasonable effectiveness of random weighting, TMLR 2022, arXiv:2111.10603"

    def __init__(self, distribution: str = "normal", seed: int = 0) -> None:
        super().__init__()
        require(
            distribution in DRAWS, f"`distribution` must be one of {', '.join(DRAWS)}", f"distribution={distribution!r}"
        )
        self.distribution, self.seed = distribution, seed

    def forward(self, signals: Signals) -> Tensor:
        drawn = DRAWS[self.distribution](len(signals.names), shared_generator(self.seed, signals.step))
        return signals.count * signals.softmax(drawn.to(signals.values.device, non_blocking=True))
