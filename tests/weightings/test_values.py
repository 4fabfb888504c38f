"""Weights from loss values: what holds for all of them."""

import pytest
import torch
from torch.testing import assert_close

from autoloss.core.errors import ConfigError
from autoloss.weightings.cov import Cov
from autoloss.weightings.imtl_l import ImtlL
from autoloss.weightings.relobralo import Relobralo
from autoloss.weightings.revised_uncertainty import RevisedUncertainty
from autoloss.weightings.rlw import DRAWS, Rlw
from autoloss.weightings.smooth_tchebycheff import SmoothTchebycheff
from autoloss.weightings.softadapt import Softadapt
from autoloss.weightings.uw_o import UwO
from autoloss.weightings.uw_so import UwSo

NAMES = ("a", "b", "c")
METHODS = {
    "revised_uncertainty": RevisedUncertainty,
    "imtl_l": ImtlL,
    "uw_o": UwO,
    "uw_so": UwSo,
    **{f"rlw {name}": lambda name=name: Rlw(name) for name in DRAWS},
    "softadapt": lambda: Softadapt(order=3),
    "softadapt loss_weighted": lambda: Softadapt(order=2, variant="loss_weighted"),
    "softadapt normalised": lambda: Softadapt(beta=1.0, variant="normalised"),
    "relobralo": lambda: Relobralo(temperature=0.5, alpha=0.9, keep=0.6),
    "cov": Cov,
    "cov decay": lambda: Cov(0.9),
    "smooth_tchebycheff log": lambda: SmoothTchebycheff(log=True, warmup=3),
}
SCALES = [1e-10, 1e-6, 1e-3, 1.0, 1e3, 1e6, 1e10]


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def losses(steps, size=3, seed=0):
    return 0.5 + torch.rand(steps, size, generator=torch.Generator().manual_seed(seed))


def trace(weighting, values, signals_of, learn, present=None, start=0):
    """The weights of each step, with absent losses' at NaN."""
    rows = []
    for step, row in enumerate(values, start):
        signals = signals_of(row, present=None if present is None else present[step], step=step)
        rows.append(torch.where(signals.present, learn(weighting, signals), torch.nan))
    return torch.stack(rows)


def test_weights_are_positive_and_sum_to_count_if_claimed(method, signals_of, learn):
    present = [[True, step % 3 != 0, step % 2 == 0] for step in range(12)]
    weights = trace(method().bind(NAMES), losses(12), signals_of, learn, present)
    assert (weights.nan_to_num() >= 0).all()
    if "sums_to_count" in method().claims:
        assert_close(weights.nansum(1), torch.tensor(present).sum(1).float())


@pytest.mark.parametrize("scale", SCALES)
def test_weights_are_finite_at_any_scale(method, scale, signals_of, learn):
    for factor in (torch.full((3,), scale), torch.tensor([scale, 1.0, 1 / scale])):
        weights = trace(method().bind(NAMES), losses(8) * factor, signals_of, learn)
        assert weights.isfinite().all()


def test_claimed_scale_invariance(method, signals_of, learn):
    plain = trace(method().bind(NAMES), losses(8), signals_of, learn)
    for scale in SCALES:
        if "common_scale_invariant" in method().claims:
            scaled = trace(method().bind(NAMES), losses(8) * scale, signals_of, learn)
            assert_close(scaled / scaled.sum(1, True), plain / plain.sum(1, True), rtol=1e-3, atol=1e-5)
        if "loss_scale_invariant" in method().claims:
            factor = torch.tensor([1.0, scale, 1.0])
            assert_close(trace(method().bind(NAMES), losses(8) * factor, signals_of, learn) * factor, plain)


def test_claimed_permutation_equivariance(method, signals_of, learn):
    if "permutation_equivariant" not in method().claims:
        pytest.skip("draws belong to positions")
    order = [2, 0, 1]
    shuffled = trace(method().bind([NAMES[i] for i in order]), losses(8)[:, order], signals_of, learn)
    assert_close(shuffled, trace(method().bind(NAMES), losses(8), signals_of, learn)[:, order])


def test_losses_of_zero_give_finite_weights(method, signals_of, learn):
    values = losses(9)
    values[2:4, 0] = 0.0
    values[5:7] = 0.0
    assert trace(method().bind(NAMES), values, signals_of, learn).isfinite().all()
    values[7, 0] = 1e25
    assert trace(method().bind(NAMES), values, signals_of, learn).isfinite().all()
    assert trace(method().bind(NAMES), torch.zeros(5, 3), signals_of, learn).isfinite().all()


@pytest.mark.parametrize("name", [name for name in METHODS if not name.startswith("rlw")])
def test_an_absent_loss_is_as_if_there_were_none(name, signals_of, learn):
    values = losses(8)
    with_it = trace(METHODS[name]().bind(NAMES), values, signals_of, learn, [[True, True, False]] * 8)
    assert_close(with_it[:, :2], trace(METHODS[name]().bind(NAMES[:2]), values[:, :2], signals_of, learn))


def test_absence_moves_no_state(method, signals_of, learn):
    weighting = method().bind(NAMES)
    trace(weighting, losses(4), signals_of, learn)
    before = {name: value.clone() for name, value in weighting.state_dict().items()}
    trace(weighting, losses(3, seed=1), signals_of, learn, [[True, True, False]] * 9, start=4)
    for name, value in weighting.state_dict().items():
        assert_close(value[2], before[name][2], rtol=0, atol=0, equal_nan=True)


def test_forward_reads_and_update_writes(method, signals_of, learn):
    weighting = method().bind(NAMES)
    trace(weighting, losses(4), signals_of, learn)
    before = {name: value.clone() for name, value in weighting.state_dict().items()}
    signals = signals_of(losses(1, seed=2)[0], step=4)
    assert_close(weighting(signals), weighting(signals), rtol=0, atol=0)
    for name, value in weighting.state_dict().items():
        assert_close(value, before[name], rtol=0, atol=0)
    assert not list(weighting.parameters())


def test_a_resumed_run_goes_on_identically(method, signals_of, learn):
    values, present = losses(20), [[True, step % 3 != 1, step % 4 != 2] for step in range(20)]
    whole = method().bind(NAMES)
    expected = trace(whole, values, signals_of, learn, present)
    first, second = method().bind(NAMES), method().bind(NAMES)
    trace(first, values[:9], signals_of, learn, present)
    second.load_state_dict(first.state_dict())
    found = trace(second, values[9:], signals_of, learn, present, start=9)
    assert_close(found, expected[9:], rtol=0, atol=0, equal_nan=True)


def test_a_single_loss(method, signals_of, learn):
    weights = trace(method().bind(["a"]), losses(8, size=1), signals_of, learn)
    assert weights.isfinite().all()
    if "sums_to_count" in method().claims:
        assert_close(weights, torch.ones(8, 1))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["softadapt", "softadapt normalised", "relobralo", "cov", "cov decay"])
def test_constant_losses_give_equal_weights(name, scale, signals_of, learn):
    constant = torch.tensor([0.7, 3.3, 0.01]) * scale
    for values in (constant, constant * torch.tensor([1.0, 1.0, 0.0])):
        weights = trace(METHODS[name]().bind(NAMES), values.expand(30, 3), signals_of, learn)
        assert_close(weights, torch.ones(30, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: RevisedUncertainty(lr=0.0), r"`lr` must be above 0, but lr=0\.0"),
        (lambda: RevisedUncertainty(start=50.0), r"`start` must lie in \[-46, 46\]"),
        (lambda: ImtlL(lr=-1.0), r"`lr` must be above 0, but lr=-1\.0"),
        (lambda: UwSo(0.0), r"`temperature` must be above 0, but temperature=0\.0"),
        (lambda: Rlw("gaussian"), "`distribution` must be one of normal, uniform"),
        (lambda: Softadapt(order=6), r"`order` must lie in \[1, 5\]"),
        (lambda: Softadapt(variant="signed"), "`variant` must be one of original"),
        (lambda: Relobralo(temperature=-1.0), "`temperature` must be above 0, but temperature=-1"),
        (lambda: Relobralo(alpha=1.1), r"`alpha` must lie in \[0, 1\]"),
        (lambda: Relobralo(keep=-0.1), r"`keep` must lie in \[0, 1\]"),
        (lambda: Cov(0.0), r"`decay` must lie in \(0, 1\]"),
    ],
)
def test_mistakes(mistake, message):
    with pytest.raises(ConfigError, match=message):
        mistake()
