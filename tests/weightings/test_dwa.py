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
