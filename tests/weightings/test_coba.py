"""CoBa beside its textbook form, and what its scores say of curves that can be drawn by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from autoloss.core.tensors.state import commit
from autoloss.weightings.coba import Coba


def textbook(curves, window, warmup, tau):
    """The weights [K] after held-out losses ``curves`` [T, K], as the paper writes them."""
    ratios, slopes = curves / curves[0], []
    for t in range(warmup, len(curves) + 1):
        last = ratios[max(0, t - window) : t]
        slopes.append(np.polyfit(np.arange(len(last)), last, 1)[0])
    slopes = np.array(slopes)[-window:]
    size, alpha, largest = curves.shape[1], slopes[-1], slopes.max(1)

    def softmax(x):
        return np.exp(x - x.max()) / np.exp(x - x.max()).sum()

    relative = softmax(size * alpha / np.abs(alpha).sum())
    absolute = softmax(-len(slopes) * alpha / np.abs(slopes).sum(0))
    factor = min(1.0, len(slopes) * softmax(-tau * len(slopes) * largest / np.abs(largest).sum())[-1])
    return size * (factor * relative + (1 - factor) * absolute)


@pytest.fixture
def after(signals_of):
    """The weights after held-out losses ``curves`` [T, K]; NaN where one is absent from the held-out batch."""

    def follow(curves, **options):
        curves = torch.as_tensor(np.asarray(curves), dtype=torch.float32)
        weighting = Coba(**({"window": 8, "warmup": 4} | options)).bind("abcdef"[: curves.shape[1]])
        for step, losses in enumerate(curves):
            signals = replace(signals_of(torch.ones(len(losses)), step=step), measured_held_out=losses)
            commit(weighting, lambda s=signals: weighting.update(s), signals.finite(), signals.present)
        return weighting(signals_of(torch.ones(curves.shape[1]), step=len(curves)))

    return follow


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("length", "size", "tau"), [(4, 2, 5.0), (7, 3, 5.0), (30, 3, 1.0), (30, 5, 0.3)])
def test_the_weights_are_the_textbooks(after, seed, length, size, tau):
    draw = np.random.default_rng(seed)
    falls = np.exp(-draw.uniform(-0.02, 0.1, size) * np.arange(length)[:, None])
    curves = draw.uniform(0.1, 10, size) * falls * (1 + 0.05 * draw.standard_normal((length, size)))
    np.testing.assert_allclose(after(curves, tau=tau), textbook(curves, 8, 4, tau), rtol=2e-3, atol=2e-3)


def test_equal_slopes_get_equal_weights_whatever_their_scale(after):
    fall = np.linspace(1.0, 0.5, 12)[:, None]
    torch.testing.assert_close(after(fall * [1.0, 100.0, 0.01]), torch.ones(3))


def test_what_converges_faster_gets_less(after):
    steps = np.arange(12.0)
    weights = after(np.stack([1 - 0.06 * steps, 1 - 0.01 * steps, 1 - 0.03 * steps], 1))
    assert weights[0] < weights[2] < weights[1]
    # No slope changed: the divergence factor is 1, and the weights are the relative score alone.
    scores = torch.tensor([-0.06, -0.01, -0.03]) * 3 / 0.1
    torch.testing.assert_close(weights, 3 * scores.softmax(0), rtol=1e-4, atol=1e-5)


def test_what_begins_to_diverge_gets_less(after):
    steps = np.arange(24.0)
    turned = np.where(steps < 16, 1 - 0.04 * steps, 0.36 + 0.06 * (steps - 16))
    weights = after(np.stack([turned, 1 - 0.03 * steps], 1))
    assert weights[0] < 0.6
    assert weights.sum().item() == pytest.approx(2.0)
    # Before it turned it got less than the other only because it was faster.
    before = after(np.stack([turned, 1 - 0.03 * steps], 1)[:16])
    assert weights[0] < before[0] < 1


def test_weights_are_one_until_enough_was_measured(after):
    curves = np.random.default_rng(0).uniform(0.5, 1.5, (4, 3))
    assert after(curves[:3]).tolist() == [1.0] * 3
    assert len(set(after(curves).tolist())) == 3


def test_a_loss_that_held_out_batches_lack_does_not_hold_up_the_others(after):
    curves = np.random.default_rng(0).uniform(0.5, 1.5, (10, 3))
    alone = after(curves[:, :2])
    curves[:, 2] = np.nan
    weights = after(curves)
    assert weights[2] == 1
    torch.testing.assert_close(weights[:2], alone)


def test_a_measurement_without_a_loss_does_not_count_for_it(after):
    curves = np.random.default_rng(0).uniform(0.5, 1.5, (10, 2))
    gaps = np.insert(curves, [3, 5, 6, 10], np.nan, axis=0)
    assert after(gaps).tolist() == after(curves).tolist()


def test_a_first_loss_of_zero_divides_nothing(after):
    curves = np.random.default_rng(0).uniform(0.5, 1.5, (10, 2))
    assert after(np.concatenate([np.zeros((2, 2)), curves])).tolist() == after(curves).tolist()


def test_it_measures_every_so_often(signals_of):
    weighting = Coba(every=3)
    assert [weighting.needs_at(step) == weighting.needs for step in range(7)] == [s % 3 == 0 for s in range(7)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 1}, "`window` must be at least 2, but window=1"),
        ({"warmup": 1}, "`warmup` must be at least 2, but warmup=1"),
        ({"tau": 0.0}, "`tau` must be above 0, but tau=0"),
        ({"every": 0}, "`every` must be at least 1, but every=0"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        Coba(**options)
