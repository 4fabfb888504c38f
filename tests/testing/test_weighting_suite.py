"""The suite against weightings that are broken on purpose: each must fail one check, and that one only."""

import inspect
from itertools import combinations

import pytest
import torch
from torch import Tensor, nn

from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.surgery import Surgery
from autoloss.core.weighting import CLAIMS, Weighting
from autoloss.testing import WeightingSuite

CHECKS = sorted(name for name, _ in inspect.getmembers(WeightingSuite, inspect.isfunction) if name.startswith("test_"))


def failing(of: type[Weighting], **settings: object) -> set[str]:
    suite = type("Suite", (WeightingSuite,), {"weighting": of, **settings})()
    failed = set()
    for check in CHECKS:
        try:
            getattr(suite, check)()
        except pytest.skip.Exception:
            continue
        except Exception:
            failed.add(check)
    return failed


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


BROKEN = {
    InFloat64: "test_gives_one_float32_weight_for_each_loss",
    Overflows: "test_is_finite_at_every_scale",
    OverflowsAfterJump: "test_is_finite_when_losses_jump",
    DividesByLoss: "test_is_finite_at_a_loss_of_zero",
    TakesRootOfLoss: "test_is_finite_at_negative_losses",
    DividesByNorm: "test_is_finite_at_a_gradient_of_zero",
    NeedsTwo: "test_one_loss_is_enough",
    WritesSignals: "test_signals_are_only_read",
    WritesStats: "test_signals_are_only_read",
    ForgetsGradMode: "test_total_has_the_weights_as_its_gradient",
    Waits: "test_waits_for_no_device",
    WritesInForward: "test_forward_writes_nothing",
    StateInPython: "test_state_survives_a_checkpoint",
    StateOutOfCheckpoint: "test_state_survives_a_checkpoint",
    HasParameter: "test_has_no_parameters",
    StateInFloat64: "test_state_is_float32",
    IsCast: "test_casts_leave_the_state_alone",
    RaisesForNan: "test_a_loss_that_is_not_finite_moves_no_state",
    FollowsTheDefaultDtype: "test_precision_around_it_changes_nothing",
    HidesOverflow: "test_an_overflow_in_a_fork_reaches_the_scaler",
    AsksForMore: "test_needs_at_is_part_of_needs",
    AsksForLess: "test_needs_are_enough",
    BreaksWhenAbsent: "test_absent_losses_break_nothing",
    SeesFiller: "test_an_absent_loss_says_nothing",
    LearnsFiller: "test_an_absent_loss_says_nothing",
    MovesAbsentRow: "test_an_absent_loss_learns_nothing",
    MovesAbsentColumn: "test_an_absent_loss_learns_nothing",
    ClaimsSum: "test_claim_sums_to_count",
    ClaimsPermutation: "test_claim_permutation_equivariant",
    ClaimsPermutationOfState: "test_claim_permutation_equivariant",
    ClaimsLossScale: "test_claim_loss_scale_invariant",
    ClaimsCommonScale: "test_claim_common_scale_invariant",
    ClaimsDescent: "test_claim_non_conflicting",
    ClaimsTheSky: "test_claims_are_known",
}


@pytest.mark.parametrize("good", [Good, GoodInverse, GoodDescent, Equal, CountsSteps])
def test_passes_what_is_right(good: type[Weighting]) -> None:
    assert failing(good) == set()


# What cannot train at all fails the checks that train, too.
ALSO = {
    ForgetsGradMode: "test_precision_around_it_changes_nothing",
    HasParameter: "test_precision_around_it_changes_nothing",
    StateInFloat64: "test_precision_around_it_changes_nothing",
    WritesInForward: "test_precision_around_it_changes_nothing",
    RaisesForNan: "test_a_probe_that_overflows_reaches_the_scaler",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_fails_exactly_what_is_broken(broken: type[Weighting]) -> None:
    assert failing(broken) == {BROKEN[broken], ALSO.get(broken, BROKEN[broken])}


def test_fails_what_answers_at_random() -> None:
    assert {"test_forward_writes_nothing", "test_state_survives_a_checkpoint"} <= failing(AnswersTwice)


def test_fails_what_looks_ahead_before_the_step() -> None:
    expected = {
        "test_needs_are_enough",
        "test_total_has_the_weights_as_its_gradient",
        "test_precision_around_it_changes_nothing",
    }
    assert failing(LooksAheadInForward) == expected


def test_fails_what_has_another_shape() -> None:
    class Matrix(Equal):
        def forward(self, signals: Signals) -> Tensor:
            return torch.ones(1, len(signals.names))

    assert "test_gives_one_float32_weight_for_each_loss" in failing(Matrix)


def test_every_check_has_something_that_fails_it() -> None:
    assert {*BROKEN.values(), *ALSO.values()} == set(CHECKS)


def test_every_claim_has_a_check_and_something_right_that_makes_it() -> None:
    assert {f"test_claim_{claim}" for claim in CLAIMS} <= set(CHECKS)
    assert frozenset().union(*(good.claims for good in (Good, GoodInverse, GoodDescent))) == CLAIMS.keys()


def test_messages_say_what_was_found() -> None:
    class Suite(WeightingSuite):
        weighting = MovesAbsentRow

    with pytest.raises(
        AssertionError, match=r"changed the absent loss's part of `count`. Write add_state\(..., axes=1\)"
    ):
        Suite().test_an_absent_loss_learns_nothing()


def test_a_suite_without_a_weighting_says_what_to_do() -> None:
    with pytest.raises(NotImplementedError, match=r"Override weighting\(\)"):
        WeightingSuite().test_has_no_parameters()


def test_losses_that_parameters_name_come_first() -> None:
    class Pair(Equal):
        def allocate(self, size: int) -> None:
            self.per_loss({"adversarial": 1.0, "reconstruction": 2.0})

    assert failing(Pair, names=("adversarial", "reconstruction", "perceptual"), fewest=2) == set()
