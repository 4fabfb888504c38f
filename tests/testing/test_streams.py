"""The suite's signals could have been measured, and stay so whatever is done to them."""

import math

import pytest
import torch

from autoloss.core.errors import SignalError
from autoloss.core.need import Need
from autoloss.testing import streams
from autoloss.testing.subject import same, state_of
from autoloss.weightings.uncertainty import Uncertainty

NAMES = ("a", "b", "c")


def numbers(signals):
    stats = signals.stats
    return [signals.values, signals.gram, stats.item_norm, stats.largest, stats.mean, signals.after]


@pytest.mark.parametrize("width", [1, 16])
def test_signals_are_consistent(width: int) -> None:
    for signals in streams.stream(NAMES, steps=6, width=width):
        size, norm = streams.ITEMS * width, signals.gram.diagonal().sqrt()
        stats = signals.stats
        assert (signals.values > 0).all()
        assert torch.linalg.eigvalsh(signals.gram.double()).min() > -1e-4 * signals.gram.diagonal().max()
        assert (stats.mean <= stats.largest).all()
        assert (stats.largest <= norm * 1.0001).all()
        assert (norm <= stats.mean * size).all()
        # Between the mean and the root mean square over items.
        assert (stats.item_norm * math.sqrt(streams.ITEMS) <= norm * 1.0001).all()
        assert ((signals.after > 0.85 * signals.values) & (signals.after <= signals.values)).all()


def test_time_passes() -> None:
    signals = streams.stream(NAMES, steps=5)
    assert [s.step for s in signals] == [0, 1, 2, 3, 4]
    assert [s.epoch for s in signals] == [0, 0, 1, 1, 2]
    assert [s.progress for s in signals] == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert not same(signals[0].values, signals[1].values)


def test_gradients_often_conflict() -> None:
    for seed in range(5):
        assert all(s.gram[0, 1] < 0 for s in streams.stream(NAMES, seed=seed) if s.step % 2)


def test_a_seed_gives_the_same_stream_each_time_and_another_one_does_not() -> None:
    one, again, other = (streams.stream(NAMES, steps=1, seed=seed)[0] for seed in (1, 1, 2))
    assert all(map(same, numbers(one), numbers(again)))
    assert not any(map(same, numbers(one), numbers(other)))
    one.values.zero_()
    assert all(map(same, numbers(again), numbers(streams.stream(NAMES, steps=1, seed=1)[0])))


def test_powers_of_two_scale_without_rounding() -> None:
    signals = streams.stream(NAMES, steps=1)[0]
    there = streams.scaled(signals, [2.0**20, 2.0**-20, 1.0])
    assert there.gram[0, 1] == signals.gram[0, 1]
    assert there.gram[0, 0] == signals.gram[0, 0] * 2.0**40
    assert same(there.stats.mean, signals.stats.mean * torch.tensor([2.0**20, 2.0**-20, 1.0]))
    back = streams.scaled(there, [2.0**-20, 2.0**20, 1.0])
    assert all(map(same, numbers(signals), numbers(back)))


def test_values_and_gradients_scale_apart() -> None:
    signals = streams.stream(NAMES, steps=1)[0]
    steep = streams.scaled(signals, [1.0] * 3, [2.0] * 3)
    assert same(steep.values, signals.values)
    assert same(steep.gram, signals.gram * 4)


def test_a_permutation_moves_everything_with_its_loss() -> None:
    signals = streams.stream(NAMES, steps=1)[0]
    moved = streams.permuted(signals, [2, 0, 1])
    assert moved.names == ("c", "a", "b")
    assert moved.gram[0, 1] == signals.gram[2, 0]
    assert moved.values[0] == signals.values[2]
    back = streams.permuted(moved, [1, 2, 0])
    assert back.names == NAMES
    assert all(map(same, numbers(signals), numbers(back)))


def test_an_absent_loss_leaves_its_filler() -> None:
    signals = streams.absent(streams.stream(NAMES, steps=1)[0], [1], filler=7.0)
    assert signals.present.tolist() == [True, False, True]
    assert signals.values[1] == signals.after[1] == 7.0
    assert not signals.gram[1].any()
    assert not signals.gram[:, 1].any()
    assert signals.stats.largest[1] == 0
    assert signals.finite()


def test_a_poisoned_loss_is_present_and_not_finite() -> None:
    signals = streams.poisoned(streams.stream(NAMES, steps=1)[0], [1], math.inf)
    assert signals.present.all()
    assert signals.values[1] == math.inf
    assert signals.gram.isfinite().tolist() == [[True, False, True], [False] * 3, [True, False, True]]
    assert not signals.finite()


@pytest.mark.parametrize(
    ("need", "attribute"),
    [(Need.GRAM, "gram"), (Need.STATS, "stats"), (Need.LOOKAHEAD, "after"), (Need.ALIGNMENT, "alignment")],
)
def test_only_what_is_needed_is_there(need: Need, attribute: str) -> None:
    signals = streams.stream(NAMES, steps=1)[0]
    getattr(streams.only(signals, need), attribute)
    with pytest.raises(SignalError, match=f"signals.{attribute} must be measured"):
        getattr(streams.only(signals, ~need), attribute)


def test_two_states_are_compared_bit_for_bit() -> None:
    nan = torch.tensor([1.0, math.nan])
    assert same(nan, nan.clone())
    assert not same(nan, torch.tensor([1.0, 2.0]))
    assert not same(nan, nan.double())
    assert not same(torch.zeros(2), torch.zeros(2, 1))
    weighting = Uncertainty().bind(NAMES)
    before = state_of(weighting)
    assert "factors" in before  # also what no checkpoint holds
    weighting.log_variance += 1
    assert before["log_variance"].tolist() == [0.0] * 3
