"""Weights from how losses changed: each against its paper's rule, written out in float64."""

import math

import pytest
import torch
from torch.testing import assert_close

from autoloss.core.tensors.draws import shared_generator
from autoloss.weightings.cov import Cov
from autoloss.weightings.relobralo import Relobralo
from autoloss.weightings.softadapt import Softadapt

NAMES = ("a", "b", "c")
# Coefficients from newest to oldest, as in any table of backward differences.
STENCILS = {
    1: [1, -1],
    2: [3 / 2, -2, 1 / 2],
    3: [11 / 6, -3, 3 / 2, -1 / 3],
    4: [25 / 12, -4, 3, -4 / 3, 1 / 4],
    5: [137 / 60, -5, 5, -10 / 3, 5 / 4, -1 / 5],
}


def losses(steps):
    return 0.5 + torch.rand(steps, 3, generator=torch.Generator().manual_seed(3))


def run(weighting, values, signals_of, learn):
    weighting.bind(NAMES)
    return torch.stack([learn(weighting, signals_of(row, step=step)) for step, row in enumerate(values)])


@pytest.mark.parametrize("order", STENCILS)
@pytest.mark.parametrize("variant", ["original", "loss_weighted", "normalised"])
def test_softadapt_is_its_rule(order, variant, signals_of, learn):
    values = losses(10)
    found = run(Softadapt(0.7, order, variant), values, signals_of, learn)
    for step in range(order, 10):
        window = values[step - order : step + 1].double()
        slope = torch.tensor(STENCILS[order], dtype=torch.float64) @ window.flip(0)
        if variant == "normalised":
            slope = slope / slope.abs().sum()
        raw = torch.exp(0.7 * slope) * (window.mean(0) if variant == "loss_weighted" else 1)
        assert_close(found[step].double(), 3 * raw / raw.sum(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", STENCILS)
def test_softadapt_takes_the_slope_at_the_newest_value(order, signals_of, learn):
    slopes = torch.tensor([0.5, -1.0, 2.0])
    lines = 10 + slopes * torch.arange(8.0)[:, None]
    found = run(Softadapt(0.3, order), lines, signals_of, learn)
    assert_close(found[-1], 3 * (0.3 * slopes).softmax(0))
    if order > 1:
        parabola = torch.arange(8.0)[:, None] ** 2 * torch.tensor([1.0, 0.0, 0.0]) + 1
        found = run(Softadapt(0.1, order), parabola, signals_of, learn)
        assert_close(found[-1], 3 * torch.tensor([0.1 * 2 * 7, 0, 0]).softmax(0))


def test_softadapt_waits_for_its_window_and_compares_sizes_at_equal_slopes(signals_of, learn):
    found = run(Softadapt(1.0, 4), losses(6), signals_of, learn)
    assert_close(found[:4], torch.ones(4, 3))
    assert not torch.allclose(found[4], torch.ones(3))
    rising = torch.tensor([1.0, 2.0, 5.0]) + torch.arange(5.0)[:, None]
    weighted = run(Softadapt(1.0, 1, "loss_weighted"), rising, signals_of, learn)[-1]
    mean = rising[-2:].mean(0)
    assert_close(weighted, 3 * mean / mean.sum())


@pytest.mark.parametrize(
    ("temperature", "alpha", "keep"), [(1.0, 0.999, 0.999), (0.1, 0.9, 0.5), (2.0, 0.5, 0.0), (0.5, 0.0, 1.0)]
)
def test_relobralo_is_its_rule(temperature, alpha, keep, signals_of, learn):
    values, weights = losses(20).double(), torch.ones(3, dtype=torch.float64)
    found = run(Relobralo(temperature, alpha, keep, seed=5), values, signals_of, learn)
    for step in range(20):
        since_first = 3 * (values[step] / (temperature * values[0])).softmax(0)
        since_last = 3 * (values[step] / (temperature * values[max(step - 1, 0)])).softmax(0)
        rho = float(torch.rand((), generator=shared_generator(5, step)) < keep)
        weights = alpha * (rho * weights + (1 - rho) * since_first) + (1 - alpha) * since_last
        assert_close(found[step].double(), weights, rtol=1e-4, atol=1e-6)


def test_relobralo_at_its_ends(signals_of, learn):
    values = losses(12)
    assert_close(run(Relobralo(alpha=1.0, keep=1.0), values, signals_of, learn), torch.ones(12, 3))
    forgets = run(Relobralo(temperature=0.3, alpha=0.0), values, signals_of, learn)
    assert_close(forgets[1:], 3 * (values[1:] / (0.3 * values[:-1])).softmax(1), rtol=1e-4, atol=1e-6)
    looks = run(Relobralo(temperature=0.3, alpha=1.0, keep=0.0), values, signals_of, learn)
    assert_close(looks, 3 * (values / (0.3 * values[0])).softmax(1), rtol=1e-4, atol=1e-6)


def test_relobralo_looks_back_as_often_as_asked(signals_of, learn):
    draws = [float(torch.rand((), generator=shared_generator(0, step))) for step in range(500)]
    weighting = Relobralo(alpha=1.0, keep=0.8).bind(NAMES)
    first = signals_of([1.0, 1.0, 1.0])
    learn(weighting, first)
    seen = [weighting(signals_of([1.0, 2.0, 3.0], step=step))[2] > 1.5 for step in range(500)]
    assert seen == [draw >= 0.8 for draw in draws]
    assert 0.15 < sum(seen) / 500 < 0.25


def test_cov_is_its_rule(signals_of, learn):
    values = losses(25)
    found = run(Cov(), values, signals_of, learn)
    assert_close(found[:2], torch.ones(2, 3))
    exact = values.double()
    means = exact.cumsum(0) / torch.arange(1, 26)[:, None]
    ratios = torch.cat([torch.ones(1, 3), exact[1:] / means[:-1]])
    for step in range(2, 25):
        past = ratios[:step]
        c = (past.var(0, correction=0) + 1e-8).sqrt() / past.mean(0)
        assert_close(found[step].double(), 3 * c / c.sum(), rtol=1e-4, atol=1e-6)


def test_cov_with_decay_averages_mean_and_variance_alike(signals_of, learn):
    values, decay = losses(40), 0.8
    found = run(Cov(decay), values, signals_of, learn)[-1].double()
    mean, ratios, shares = values[0].double(), [], []
    for step, row in enumerate(values[:-1].double()):
        share = max(1 / (step + 1), 1 - decay)
        ratios.append(row / mean)
        shares = [s * (1 - share) for s in shares] + [share]
        mean = mean + share * (row - mean)
    past, share = torch.stack(ratios), torch.tensor(shares)[:, None]
    average = (share * past).sum(0)
    c = ((share * (past - average) ** 2).sum(0) + 1e-8).sqrt() / average
    assert_close(found, 3 * c / c.sum(), rtol=1e-4, atol=1e-6)


def test_cov_gives_a_late_loss_the_mean_weight(signals_of, learn):
    weighting = Cov().bind(NAMES)
    for step, row in enumerate(losses(6)):
        learn(weighting, signals_of(row, present=[True, True, step == 5]))
    assert weighting.seen.tolist() == [6, 6, 1]
    assert_close(weighting(signals_of([1.0, 1.0, 1.0]))[2], torch.tensor(1.0))
    without_first = weighting(signals_of([1.0, 1.0, 1.0], present=[False, True, True]))
    assert_close(without_first[1:], torch.ones(2))


def test_cov_gives_the_weight_to_what_varies(signals_of, learn):
    values = torch.ones(60, 3)
    values[:, 1] = torch.tensor([2 + math.sin(t) for t in range(60)])
    found = run(Cov(), values, signals_of, learn)[-1]
    assert found[1] > 2.99
    scaled = run(Cov(), values * torch.tensor([1e-8, 1e6, 7.0]), signals_of, learn)[-1]
    assert_close(scaled, found, rtol=1e-3, atol=1e-6)
