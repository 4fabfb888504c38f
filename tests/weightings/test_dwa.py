"""Dynamic weight average: the table's row, by epoch and by window."""

import pytest
import torch

from autoloss.weightings.dwa import Dwa


def feed(signals_of, weighting, periods, steps=3, window=False):
    for number, values in enumerate(periods):
        for i in range(steps):
            step = number * steps + i
            signals = signals_of(torch.tensor(values), step=step, epoch=0 if window else number)
            yield weighting(signals)
            weighting.update(signals)


@pytest.mark.parametrize("window", [False, True])
def test_ratios_of_the_last_two_periods(signals_of, window):
    weighting = Dwa(temperature=2.0, window=3 if window else 0).bind(["a", "b"])
    weights = list(feed(signals_of, weighting, [[2.0, 3.0], [1.0, 3.0], [9.0, 9.0]], window=window))
    assert all(w.tolist() == [1.0, 1.0] for w in weights[:6])
    for w in weights[6:]:
        assert w.tolist() == pytest.approx([0.8756, 1.1244], abs=1e-4)


def test_constant_losses_keep_equal_weights(signals_of):
    weighting = Dwa().bind(["a", "b", "c"])
    for weights in feed(signals_of, weighting, [[1.0, 10.0, 0.0]] * 5):
        assert weights.tolist() == pytest.approx([1.0, 1.0, 1.0])


@pytest.mark.parametrize("window", [0, 10])
def test_a_loss_that_is_absent_from_the_first_step_of_each_period_turns_when_it_is_back(signals_of, learn, window):
    weighting = Dwa(window=window).bind(["a", "b"])
    for step in range(50):
        period, here = step // 10, step % 10 != 0
        signals = signals_of([1.0, 2.0**-period], present=[True, here], step=step, epoch=0 if window else period)
        weights = learn(weighting, signals)
        if period >= 2 and here:
            assert weights.tolist() == pytest.approx([1.1244, 0.8756], abs=1e-4), step


def test_a_loss_that_is_absent_for_a_whole_period_compares_those_in_which_it_was_there(signals_of, learn):
    weighting = Dwa().bind(["a", "b"])
    for epoch, (b, here) in enumerate([(4.0, True), (9.0, False), (2.0, True), (9.0, False), (1.0, True)]):
        weights = learn(weighting, signals_of([1.0, b], present=[True, here], step=epoch, epoch=epoch))
    assert weights.tolist() == pytest.approx([1.1244, 0.8756], abs=1e-4)


def test_state_of_0_1_0_loads_whose_period_was_one_number(signals_of):
    old = Dwa().bind(["a", "b"]).state_dict() | {"period": torch.tensor(3)}
    weighting = Dwa().bind(["a", "b"])
    weighting.load_state_dict(old)
    assert weighting.period.tolist() == [3, 3]
