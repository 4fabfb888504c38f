"""The suite against weightings that are broken on purpose: each must fail one check, and that one only."""

import inspect

import pytest
import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import CLAIMS, Weighting
from autoloss.testing import WeightingSuite
from tests.testing.broken_weightings import (
    AnswersTwice,
    AsksForLess,
    AsksForMore,
    BreaksWhenAbsent,
    ClaimsCommonScale,
    ClaimsDescent,
    ClaimsLossScale,
    ClaimsPermutation,
    ClaimsPermutationOfState,
    ClaimsSum,
    ClaimsTheSky,
    DividesByLoss,
    DividesByNorm,
    FollowsTheDefaultDtype,
    ForgetsGradMode,
    HasParameter,
    HidesOverflow,
    InFloat64,
    IsCast,
    LearnsFiller,
    LooksAheadInForward,
    MovesAbsentColumn,
    MovesAbsentRow,
    NeedsTwo,
    Overflows,
    OverflowsAfterJump,
    RaisesForNan,
    SeesFiller,
    StateInFloat64,
    StateInPython,
    StateOutOfCheckpoint,
    TakesRootOfLoss,
    Waits,
    WritesInForward,
    WritesSignals,
    WritesStats,
)
from tests.testing.sound_weightings import CountsSteps, Equal, Good, GoodDescent, GoodInverse

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
