"""Combination rules: values known in closed form, and TorchJD's."""

import pytest
import torch
from torch.testing import assert_close

from autoloss.weightings.cosmos import Cosmos
from autoloss.weightings.geometric import Geometric
from autoloss.weightings.imtl_l import ImtlL
from autoloss.weightings.p_norm import PNorm
from autoloss.weightings.pbi import Pbi
from autoloss.weightings.product import Product
from autoloss.weightings.scale_invariant import ScaleInvariant
from autoloss.weightings.smooth_tchebycheff import SmoothTchebycheff
from autoloss.weightings.tchebycheff import Tchebycheff
from autoloss.weightings.weighted_mean import WeightedMean

NAMES = ("a", "b", "c")
LOSSES = torch.tensor([2.0, 3.0, 5.0])


def test_weighted_mean_shares_among_the_present(signals_of):
    weighting = WeightedMean({"a": 3.0}).bind(NAMES)
    assert_close(weighting(signals_of(LOSSES)), torch.tensor([0.6, 0.2, 0.2]))
    assert_close(weighting(signals_of(LOSSES, present=[True, True, False]))[:2], torch.tensor([0.75, 0.25]))
    silent = WeightedMean({"a": 0.0}).bind(NAMES)(signals_of(LOSSES, present=[True, False, False]))
    assert silent[0] == 0


def test_geometric(signals_of):
    weights = Geometric().bind(NAMES)(signals_of(LOSSES))
    assert_close(weights, torch.tensor([0.5179, 0.3452, 0.2071]), atol=5e-5, rtol=0)
    assert_close((weights * LOSSES).sum(), torch.tensor(30 ** (1 / 3)))  # Euler: S is homogeneous of degree 1
    scaled = Geometric().bind(NAMES)(signals_of(LOSSES * torch.tensor([64.0, 1.0, 1.0])))
    assert_close(scaled, weights * torch.tensor([4 / 64, 4.0, 4.0]))


def test_focused_geometric(signals_of):
    weights = Geometric(["b"]).bind(NAMES)(signals_of(LOSSES))
    scalar = 30 ** (1 / 3) * 3
    assert_close(weights, scalar * torch.tensor([1 / 3, 4 / 3, 1 / 3]) / LOSSES)
    without = Geometric(["b"]).bind(NAMES)(signals_of(LOSSES, present=[True, False, True]))
    assert_close(without[[0, 2]], 10**0.5 / 2 / LOSSES[[0, 2]])


def test_product_keeps_its_direction_where_float32_ends(signals_of):
    assert_close(Product().bind(NAMES)(signals_of(LOSSES)), torch.tensor([15.0, 10.0, 6.0]))
    names = tuple("abcdefghijklmnopqrst")
    for scale in (1e-10, 1e10):
        values = scale * torch.arange(1, 21)
        weights = Product().bind(names)(signals_of(values))
        assert_close(weights * values / (weights[0] * values[0]), torch.ones(20), rtol=1e-3, atol=0)


def test_scale_invariant_weighted_losses_are_the_weights(signals_of):
    for scale in (1e-10, 1.0, 1e10):
        weights = ScaleInvariant({"b": 2.0}).bind(NAMES)(signals_of(LOSSES * scale))
        assert_close(weights * LOSSES * scale, torch.tensor([1.0, 2.0, 1.0]))


def test_tchebycheff_is_the_worst_loss_alone(signals_of):
    assert Tchebycheff({"b": 2.0}).bind(NAMES)(signals_of(LOSSES)).tolist() == [0, 2, 0]
    assert Tchebycheff({}, {"c": 4.0}).bind(NAMES)(signals_of(LOSSES)).tolist() == [0, 1, 0]
    assert Tchebycheff().bind(NAMES)(signals_of([5.0, 2.0, 5.0])).tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize("mu", [0.01, 0.1, 0.5, 1.0])
def test_smooth_tchebycheff(mu, signals_of):
    preference = torch.tensor([0.5, 2.0, 1.0])
    for seed in range(10):
        losses = torch.rand(3, generator=torch.Generator().manual_seed(seed)) * 3
        weighting = SmoothTchebycheff(mu, {"a": 0.5, "b": 2.0}).bind(NAMES)
        signals = signals_of(losses)
        top = (preference * losses).max()
        assert top - 1e-5 <= weighting.scalar(losses, signals) <= top + mu * torch.tensor(3.0).log() + 1e-5
        assert_close(weighting(signals), preference * (preference * losses / mu).softmax(0))
    assert_close(SmoothTchebycheff(1e-4).bind(NAMES)(signals_of(LOSSES)), torch.tensor([0.0, 0.0, 1.0]))


def test_log_smooth_tchebycheff_starts_from_its_warmup_mean(signals_of, learn):
    nadir = torch.tensor([1e-6, 1.0, 1e6])
    weighting = SmoothTchebycheff(log=True, warmup=2).bind(NAMES)
    assert weighting.positive
    for factor in (0.5, 1.5):
        assert_close(learn(weighting, signals_of(factor * nadir)), 1 / (factor * nadir))
    ratio = torch.tensor([0.5, 1.0, 2.0])
    resumed = SmoothTchebycheff(log=True, warmup=2).bind(NAMES)
    resumed.load_state_dict(weighting.state_dict())
    for taught in (weighting, resumed):
        # mu = 1: S = K log sum(L / nadir)
        assert_close(learn(taught, signals_of(ratio * nadir)), 3 / nadir / ratio.sum())
    assert_close(weighting.nadir, nadir)


def test_log_smooth_tchebycheff_waits_for_an_absent_loss(signals_of, learn):
    weighting = SmoothTchebycheff(mu=0.1, log=True, warmup=2).bind(NAMES)
    for _ in range(3):
        weights = learn(weighting, signals_of([2.0, 4.0, 1.0], present=[True, True, False]))
        assert_close(weights[:2], torch.tensor([1 / 2, 1 / 4]))
    assert weighting.seen.tolist() == [2, 2, 0]
    assert_close(learn(weighting, signals_of([2.0, 4.0, 8.0])), torch.tensor([1 / 2, 1 / 4, 1 / 8]))


def test_p_norm(signals_of):
    assert_close(PNorm(1.0, {"a": 2.0}).bind(NAMES)(signals_of(LOSSES)), torch.tensor([2.0, 1.0, 1.0]))
    assert_close(PNorm(2.0).bind(NAMES)(signals_of([7.0] * 3)), torch.full((3,), 3**-0.5))
    assert_close(PNorm(1e3).bind(NAMES)(signals_of(LOSSES)), torch.tensor([0.0, 0.0, 1.0]), rtol=0.01, atol=0.01)
    signals = signals_of(LOSSES)
    assert_close(PNorm(1e3).bind(NAMES).scalar(LOSSES, signals), torch.tensor(5.0), rtol=0.01, atol=0)
    silent = PNorm(2.0, {"a": 0.0}).bind(NAMES)(signals_of(LOSSES, present=[True, False, False]))
    assert silent[0] == 0


def test_cosmos(signals_of):
    a, losses = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([2.0, 1.0, 0.5])
    cosine = a @ losses / (a.norm() * losses.norm())
    pull = a / (a.norm() * losses.norm()) - cosine * losses / losses.norm() ** 2
    given = dict(zip(NAMES, a.tolist(), strict=True))
    assert_close(Cosmos(3.0, given).bind(NAMES)(signals_of(losses)), a - 3 * pull)
    assert_close(Cosmos(0.0, given).bind(NAMES)(signals_of(losses)), a)
    assert_close(Cosmos(3.0, given).bind(NAMES)(signals_of(10 * a)), a)  # on the direction nothing pulls


def test_pbi(signals_of):
    u = torch.full((3,), 3**-0.5)
    for scale in (1e-10, 1.0, 1e10):  # on the direction itself d2 = 0: no NaN, and next to no penalty
        assert_close(Pbi().bind(NAMES)(signals_of([scale] * 3)), u, rtol=0, atol=0.05)
        assert_close(Pbi(0.0).bind(NAMES)(signals_of(LOSSES * scale)), u)
        off = Pbi().bind(NAMES)(signals_of(LOSSES * scale))
        assert_close(off, Pbi().bind(NAMES)(signals_of(LOSSES)))
        assert_close((off - u).norm(), torch.tensor(5.0))  # d2 has a gradient of length 1 across the direction
        assert_close((off - u) @ u, torch.tensor(0.0), atol=1e-5, rtol=0)


def test_pbi_has_a_gradient_where_there_is_no_direction(signals_of):
    given = {"a": 0.5, "b": 1.5, "c": -2.0}
    assert_close(Pbi(ideal=given).bind(NAMES)(signals_of(list(given.values()))), torch.full((3,), 3**-0.5))
    assert Pbi(preference={"a": 0.0}).bind(NAMES)(signals_of(LOSSES, present=[True, False, False])).isfinite().all()


def test_agrees_with_torchjd(signals_of):
    other = pytest.importorskip("torchjd.scalarization")
    a, z = torch.tensor([0.2, 0.3, 0.5]), torch.tensor([0.1, 0.0, -0.2])
    given, ideal = (dict(zip(NAMES, x.tolist(), strict=True)) for x in (a, z))
    pairs = [
        (Geometric(), other.GeometricMean()),
        (SmoothTchebycheff(0.1, given, ideal), other.STCH(0.1, a, z)),
        (Cosmos(2.0, given), other.COSMOS(2.0, a)),
        (Pbi(5.0, given, ideal), other.PBI(5.0, a, z)),
        (WeightedMean(given), other.Constant(a)),
        (ImtlL(), other.IMTLL(3)),
    ]
    for seed in range(5):
        losses = 0.2 + torch.rand(3, generator=torch.Generator().manual_seed(seed))
        for ours, theirs in pairs:
            x = losses.clone().requires_grad_()
            (expected,) = torch.autograd.grad(theirs(x), x)
            assert_close(ours.bind(NAMES)(signals_of(losses)), expected, rtol=1e-4, atol=1e-5)
