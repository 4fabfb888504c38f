"""Weightings that pass the suite."""

from itertools import combinations

import torch
from torch import Tensor

from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Good(Weighting):
    """Weights by a slow average of the losses."""

    average: Tensor
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})

    def allocate(self, size: int) -> None:
        self.add_state("average", torch.full((size,), torch.nan), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        average = torch.where(self.average.isnan(), signals.values, self.average).abs()
        average = average / signals.mean(average).clamp(min=1e-30)
        return signals.sum_to_count(average + 0.1)

    def update(self, signals: Signals) -> None:
        started = torch.where(self.average.isnan(), signals.values, self.average)
        self.average.copy_(started.lerp(signals.values, 0.1))


class GoodInverse(Weighting):
    claims = frozenset({"permutation_equivariant", "loss_scale_invariant", "common_scale_invariant"})
    positive = True

    def forward(self, signals: Signals) -> Tensor:
        return 1 / signals.values.clamp(min=1e-30)


class GoodDescent(Weighting):
    """The shortest convex combination of unit gradients, by trying every set of losses."""

    needs = Need.GRAM
    claims = frozenset({"non_conflicting"})

    def forward(self, signals: Signals) -> Tensor:
        gram = signals.gram.double()
        size, norms = len(gram), gram.diagonal().sqrt().clamp(min=1e-30)
        gram = gram / norms / norms[:, None]
        best, least = gram.new_full((size,), 1 / size), gram.new_tensor(torch.inf)
        for subset in (list(c) for n in range(1, size + 1) for c in combinations(range(size), n)):
            part = gram[subset][:, subset] + 1e-9 * torch.eye(len(subset), dtype=gram.dtype)
            weights = gram.new_zeros(size)
            weights[subset] = torch.linalg.solve(part, gram.new_ones(len(subset)))
            weights = weights / weights.sum()
            length = weights @ gram @ weights
            better = (weights >= 0).all() & (length < least)
            best, least = torch.where(better, weights, best), torch.where(better, length, least)
        return (best / norms).float()


class Equal(Weighting):
    """What the broken ones below would be if they were not broken."""

    def forward(self, signals: Signals) -> Tensor:
        return torch.ones_like(signals.values)


class CountsSteps(Equal):
    """Right as long as nobody breaks it: the first weight grows with the steps."""

    steps: Tensor

    def allocate(self, size: int) -> None:
        self.add_state("steps", torch.zeros(()))

    def forward(self, signals: Signals) -> Tensor:
        return torch.ones_like(signals.values) * (1 + self.steps)

    def update(self, signals: Signals) -> None:
        self.steps += 1
