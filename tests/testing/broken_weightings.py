"""Weightings that are broken on purpose, each in one way."""

import torch
from torch import Tensor, nn

from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.surgery import Surgery
from tests.testing.sound_weightings import CountsSteps, Equal


class InFloat64(Equal):
    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals).double()


class Overflows(Equal):
    """Fine where gradients are as large as their losses; far apart, it is infinite."""

    needs = Need.GRAM

    def forward(self, signals: Signals) -> Tensor:
        values = signals.values.abs()
        ratio = signals.gram.diagonal() / torch.where(values == 0, 1.0, values**2)
        return (1 + ratio) ** 2


class OverflowsAfterJump(Equal):
    previous: Tensor

    def allocate(self, size: int) -> None:
        self.add_state("previous", torch.full((size,), torch.nan), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        ratio = signals.values.abs() / self.previous
        return torch.exp(torch.where(ratio.isfinite(), ratio, 1.0))

    def update(self, signals: Signals) -> None:
        self.previous.copy_(signals.values.abs().clamp(min=0.1))


class DividesByLoss(Equal):
    positive = True

    def forward(self, signals: Signals) -> Tensor:
        return 1 / signals.values


class TakesRootOfLoss(Equal):
    def forward(self, signals: Signals) -> Tensor:
        return signals.values.sqrt()


class DividesByNorm(Equal):
    needs = Need.GRAM

    def forward(self, signals: Signals) -> Tensor:
        return 1 / signals.gram.diagonal().sqrt()


class NeedsTwo(Equal):
    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals) / (len(signals.names) - 1)


class WritesSignals(Equal):
    def forward(self, signals: Signals) -> Tensor:
        signals.values.clamp_(min=0.5)
        return super().forward(signals)


class WritesStats(Equal):
    needs = Need.STATS

    def update(self, signals: Signals) -> None:
        signals.stats.mean.div_(2)


class ForgetsGradMode(Equal):
    def forward(self, signals: Signals) -> Tensor:
        values = signals.values.detach().clone().requires_grad_()
        return torch.autograd.grad(values.sum(), values)[0]


class Waits(Equal):
    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals) if signals.present.any() else super().forward(signals) / 2


class WritesInForward(Equal):
    seen: Tensor

    def allocate(self, size: int) -> None:
        self.add_state("seen", torch.zeros(()))

    def forward(self, signals: Signals) -> Tensor:
        self.seen += 1
        return super().forward(signals)


class AnswersTwice(Equal):
    """Draws from torch's global generator: two ranks would disagree."""

    def forward(self, signals: Signals) -> Tensor:
        return 1 + 0.1 * torch.rand_like(signals.values)


class StateInPython(Equal):
    def allocate(self, size: int) -> None:
        self.learnt = 0

    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals) + self.learnt

    def update(self, signals: Signals) -> None:
        self.learnt += 1


class StateOutOfCheckpoint(CountsSteps):
    def allocate(self, size: int) -> None:
        self.register_buffer("steps", torch.zeros(()), persistent=False)


class HasParameter(Equal):
    def allocate(self, size: int) -> None:
        self.logits = nn.Parameter(torch.zeros(size))


class StateInFloat64(CountsSteps):
    def allocate(self, size: int) -> None:
        self.add_state("steps", torch.zeros((), dtype=torch.float64))

    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals).float()


class IsCast(CountsSteps):
    _apply = nn.Module._apply


class RaisesForNan(Equal):
    needs = Need.GRAM

    def update(self, signals: Signals) -> None:
        torch.linalg.eigvalsh(signals.gram)


class FollowsTheDefaultDtype(Equal):
    def __init__(self) -> None:
        super().__init__()
        self.factor = 1 if torch.get_default_dtype() is torch.float32 else 2

    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals) * self.factor


class HidesOverflow(Surgery):
    def combine(self, gradients: Tensor, signals: Signals) -> Tensor:
        return gradients.nan_to_num(0.0, 0.0, 0.0).sum(0)


class AsksForMore(Equal):
    def needs_at(self, step: int) -> Need:
        return Need.VALUES if step % 50 else Need.GRAM


class AsksForLess(Equal):
    needs = Need.GRAM

    def needs_at(self, step: int) -> Need:
        return Need.VALUES if step % 10 == 9 else Need.GRAM

    def forward(self, signals: Signals) -> Tensor:
        return torch.ones_like(signals.gram.diagonal())


class LooksAheadInForward(Equal):
    needs = Need.VALUES | Need.LOOKAHEAD

    def forward(self, signals: Signals) -> Tensor:
        return torch.ones_like(signals.after)


class BreaksWhenAbsent(Equal):
    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals) - signals.present.float().log().sum()


class SeesFiller(Equal):
    def forward(self, signals: Signals) -> Tensor:
        return signals.values.softmax(0)


class LearnsFiller(Equal):
    """Its answer masks, what it learns does not."""

    mean: Tensor

    def allocate(self, size: int) -> None:
        self.add_state("mean", torch.zeros(()))

    def forward(self, signals: Signals) -> Tensor:
        return super().forward(signals) + self.mean.square().clamp(max=1e6)

    def update(self, signals: Signals) -> None:
        self.mean.lerp_(signals.values.clamp(-1e6, 1e6).mean(), 0.1)


class MovesAbsentRow(Equal):
    count: Tensor

    def allocate(self, size: int) -> None:
        self.add_state("count", torch.zeros(size))

    def update(self, signals: Signals) -> None:
        self.count += 1


class MovesAbsentColumn(Equal):
    pairs: Tensor

    def allocate(self, size: int) -> None:
        self.add_state("pairs", torch.zeros(size, size), axes=1)

    def update(self, signals: Signals) -> None:
        self.pairs += 1


class ClaimsSum(Equal):
    claims = frozenset({"sums_to_count"})

    def forward(self, signals: Signals) -> Tensor:
        return len(signals.names) * signals.softmax(signals.values)


class ClaimsPermutation(Equal):
    claims = frozenset({"permutation_equivariant"})

    def forward(self, signals: Signals) -> Tensor:
        return torch.arange(len(signals.names), device=signals.values.device).float()


class ClaimsPermutationOfState(Equal):
    """The answer is equivariant, what it learns is not: after some steps the first loss is favoured."""

    weights: Tensor
    claims = frozenset({"permutation_equivariant"})

    def allocate(self, size: int) -> None:
        self.add_state("weights", torch.ones(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        return self.weights.clone()

    def update(self, signals: Signals) -> None:
        self.weights[:1] *= 1.1


class ClaimsLossScale(Equal):
    claims = frozenset({"loss_scale_invariant"})
    positive = True

    def forward(self, signals: Signals) -> Tensor:
        return 1 / (signals.values + 1e-4)


class ClaimsCommonScale(Equal):
    claims = frozenset({"common_scale_invariant"})

    def forward(self, signals: Signals) -> Tensor:
        return signals.softmax(signals.values)


class ClaimsDescent(Equal):
    needs = Need.GRAM
    claims = frozenset({"non_conflicting"})


class ClaimsTheSky(Equal):
    claims = frozenset({"always_right"})
