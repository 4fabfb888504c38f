"""Relative loss balancing with random lookback."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.draws import shared_generator
from autoloss.core.weighting import Weighting


class Relobralo(Weighting):
    """Weights each loss by how little it fell since the last step, smoothed; at random steps, since the first.

    With ``h(t') = K softmax(L(t) / (T L(t')))``, weights follow
    ``w(t) = alpha (rho w(t-1) + (1 - rho) h(0)) + (1 - alpha) h(t-1)`` from ``w = 1``; rho is 1 with
    probability ``keep``, else 0. The sum is the number of present losses.

    Args:
        temperature: T, above 0; larger is more even.
        alpha: how much of the past is kept, in [0, 1].
        keep: the mean of rho, the probability of not looking back, in [0, 1]. neuraloperator
            documents its ``beta`` as the probability of looking back, but uses it as this one.
        seed: of the draws, which depend on the seed and the step alone and are equal on every rank.

    The authors' command line has the same T and alpha, and ``keep=1``: it never looks back. Their
    code takes alpha as 1 at step 0 and 0 at step 1, and L(0) at step 1; here the rule holds from
    step 0. A loss below 1e-20 counts as 1e-20.
    """

    weights: Tensor
    initial: Tensor
    previous: Tensor
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    positive = True
    search_space = {
        "temperature": Interval(0.1, 10.0, log=True),
        "alpha": Interval(0.9, 0.9999),
        "keep": Interval(0.9, 0.9999),
    }
    use = "The terms of a physics-informed network: full batches, and scales that differ by orders of magnitude."
    avoid = "Mini-batch losses are noisy and the temperature is small; the first batch is not like the rest."
    citation = "Bischof, Kraus: Multi-objective loss balancing for physics-informed deep learning, arXiv:2110.09813"

    def __init__(self, temperature: float = 1.0, alpha: float = 0.999, keep: float = 0.999, seed: int = 0) -> None:
        super().__init__()
        require(temperature > 0, "`temperature` must be above 0", f"temperature={temperature}")
        require(0 <= alpha <= 1, "`alpha` must lie in [0, 1]", f"alpha={alpha}")
        require(0 <= keep <= 1, "`keep` must lie in [0, 1]", f"keep={keep}")
        self.temperature, self.alpha, self.keep, self.seed = temperature, alpha, keep, seed

    def allocate(self, size: int) -> None:
        self.add_state("weights", torch.ones(size), axes=1)
        self.add_state("initial", torch.full((size,), torch.nan), axes=1)
        self.add_state("previous", torch.full((size,), torch.nan), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        keeps = torch.rand((), generator=shared_generator(self.seed, signals.step)) < self.keep
        past = torch.where(
            keeps.to(signals.values.device, non_blocking=True),
            signals.sum_to_count(self.weights),
            self._since(self.initial, signals),
        )
        return past.lerp(self._since(self.previous, signals), 1 - self.alpha)

    def update(self, signals: Signals) -> None:
        self.weights.copy_(self(signals))
        self.initial.copy_(torch.where(self.initial.isnan(), signals.values, self.initial))
        self.previous.copy_(signals.values)

    def _since(self, then: Tensor, signals: Signals) -> Tensor:
        """The weights by how little each loss fell since it was ``then``."""
        then = torch.where(then.isnan(), signals.values, then)
        ratio = (signals.values.clamp(min=1e-20) / then.clamp(min=1e-20)).clamp(max=1e30)
        return signals.count * signals.softmax(ratio / self.temperature)
