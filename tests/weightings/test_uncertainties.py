"""Uncertainty weighting's relatives: optima known in closed form, and textbook objectives under torch's Adam."""

import pytest
import torch
from torch.nn.functional import softplus
from torch.testing import assert_close

from autoloss.weightings.imtl_l import ImtlL
from autoloss.weightings.revised_uncertainty import RevisedUncertainty
from autoloss.weightings.uncertainty import Uncertainty
from autoloss.weightings.uw_o import UwO
from autoloss.weightings.uw_so import UwSo

NAMES = ("a", "b", "c")
LOSSES = torch.tensor([2.7, 0.1, 20.0])


def test_revised_uncertainty_settles_at_its_optimum(signals_of, learn):
    weighting = RevisedUncertainty(lr=0.05).bind(NAMES)
    for _ in range(800):
        learn(weighting, signals_of(LOSSES))
    variance = weighting.log_variance.exp()
    assert_close(variance, (LOSSES + (LOSSES**2 + 8 * LOSSES).sqrt()) / 4, rtol=1e-3, atol=0)
    assert_close(variance[0], torch.tensor(2.018735), rtol=1e-3, atol=0)
    assert_close(weighting(signals_of(LOSSES)), 0.5 / variance)


def test_imtl_l_brings_every_loss_to_one(signals_of, learn):
    weighting = ImtlL(lr=0.05).bind(NAMES)
    for _ in range(800):
        learn(weighting, signals_of(LOSSES))
    assert_close(weighting(signals_of(LOSSES)) * LOSSES, torch.ones(3), rtol=1e-3, atol=0)
    assert_close(weighting.log_scale, -LOSSES.log(), rtol=0, atol=2e-3)


def test_imtl_l_is_twice_uncertainty(signals_of, learn):
    ours, theirs = ImtlL(lr=0.03).bind(NAMES), Uncertainty(lr=0.03).bind(NAMES)
    for _ in range(20):
        assert_close(learn(ours, signals_of(LOSSES)), 2 * learn(theirs, signals_of(LOSSES)), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("kind", "state", "objective"),
    [
        (RevisedUncertainty, "log_variance", lambda s, x: (0.5 * torch.exp(-s) * x + softplus(s)).sum()),
        (ImtlL, "log_scale", lambda s, x: (torch.exp(s) * x - s).sum()),
    ],
)
def test_learned_as_parameters_of_torch_adam_would(kind, state, objective, signals_of, learn):
    weighting = kind(lr=0.02, start=0.3).bind(NAMES)
    parameter = torch.full((3,), 0.3, requires_grad=True)
    adam = torch.optim.Adam([parameter], lr=0.02)
    for step in range(50):
        values = LOSSES * (1 + 0.1 * step)
        x = values.clone().requires_grad_()
        adam.zero_grad()
        objective(parameter, x).backward()
        assert_close(learn(weighting, signals_of(values)), x.grad, rtol=1e-5, atol=0)
        adam.step()
        assert_close(getattr(weighting, state), parameter.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [RevisedUncertainty, ImtlL])
def test_a_loss_that_stays_at_zero_has_a_bounded_weight(kind, signals_of, learn):
    weighting = kind(lr=10.0).bind(NAMES)
    for _ in range(40):
        weights = learn(weighting, signals_of([0.0, 1e-30, 1e30]))
        assert weights.isfinite().all()
    assert weights.max() <= 1.1e20


def test_uw_o_makes_every_loss_one(signals_of):
    for scale in (1e-10, 1.0, 1e10):
        assert_close(UwO().bind(NAMES)(signals_of(LOSSES * scale)) * LOSSES * scale, torch.ones(3))


def test_uw_so(signals_of):
    def weights(temperature, values):
        return UwSo(temperature).bind(NAMES)(signals_of(values))

    assert_close(weights(0.5, [1.0, 2.0, 4.0]), 3 * torch.tensor([2.0, 1.0, 0.5]).softmax(0))
    assert_close(weights(1e8, LOSSES), torch.ones(3))
    assert_close(weights(1.0, [0.3] * 3), torch.ones(3))
    assert_close(weights(2.0, LOSSES * 10), weights(20.0, LOSSES))
    assert_close(weights(1.0, [1e-10, 1.0, 1e10]), torch.tensor([3.0, 0.0, 0.0]))
