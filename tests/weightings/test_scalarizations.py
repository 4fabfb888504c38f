"""Combination rules: the weights against the gradient of the textbook form, in float64, of the present losses."""

import math

import pytest
import torch
from torch.testing import assert_close

from autoloss.core.errors import ConfigError
from autoloss.core.weighting import Scalarization
from autoloss.weightings.cosmos import Cosmos
from autoloss.weightings.geometric import Geometric
from autoloss.weightings.p_norm import PNorm
from autoloss.weightings.pbi import Pbi
from autoloss.weightings.product import Product
from autoloss.weightings.scale_invariant import ScaleInvariant
from autoloss.weightings.smooth_tchebycheff import SmoothTchebycheff
from autoloss.weightings.tchebycheff import Tchebycheff
from autoloss.weightings.weighted_mean import WeightedMean

NAMES = ("a", "b", "c", "d")
A = {"a": 0.5, "b": 2.0, "d": 1.5}
Z = {"a": 0.1, "c": -0.3}


def pbi(x, a, z, theta=5.0):
    u = a / a.norm()
    along = (x - z) @ u
    return along + theta * (x - z - along * u).norm()


# name: how it is built, S of the present losses x with preference a, ideal z and focus f.
RULES = {
    "weighted_mean": (lambda: WeightedMean(A), lambda x, a, z, f: (a * x).sum() / a.sum()),
    "product": (Product, lambda x, a, z, f: x.prod()),
    "geometric": (Geometric, lambda x, a, z, f: x.prod() ** (1 / len(x))),
    "focused": (lambda: Geometric(["a", "c"]), lambda x, a, z, f: x.prod() ** (1 / len(x)) * x[f].log().mean().exp()),
    "scale_invariant": (lambda: ScaleInvariant(A), lambda x, a, z, f: (a * x.log()).sum()),
    "tchebycheff": (lambda: Tchebycheff(A, Z), lambda x, a, z, f: (a * (x - z)).max()),
    "smooth_tchebycheff": (
        lambda: SmoothTchebycheff(0.3, A, Z),
        lambda x, a, z, f: 0.3 * (a * (x - z) / 0.3).exp().sum().log(),
    ),
    "p_norm": (lambda: PNorm(3.0, A), lambda x, a, z, f: ((a * x) ** 3).sum() ** (1 / 3)),
    "cosmos": (lambda: Cosmos(2.0, A), lambda x, a, z, f: a @ x - 2 * (a @ x) / (a.norm() * x.norm())),
    "pbi": (lambda: Pbi(5.0, A, Z), lambda x, a, z, f: pbi(x, a, z)),
}
PRESENT = [(True,) * 4, (True, False, True, True), (False, True, True, False), (False, False, False, True)]


def of(given, missing):
    return torch.tensor([given.get(name, missing) for name in NAMES], dtype=torch.float64)


@pytest.fixture(params=RULES)
def rule(request):
    return request.param


def build(rule):
    return RULES[rule][0]().bind(NAMES)


@pytest.mark.parametrize("present", PRESENT, ids=lambda p: "".join("-x"[here] for here in p))
def test_weights_are_the_gradient_of_the_textbook_form(rule, present, signals_of):
    if present == PRESENT[-1] and rule in ("focused", "pbi"):
        pytest.skip("the textbook form is 0 / 0: no focused loss, no distance")
    where = torch.tensor(present)
    for seed in range(5):
        values = torch.empty(4, dtype=torch.float64).uniform_(0.3, 3.0, generator=torch.Generator().manual_seed(seed))
        x = values[where].requires_grad_()
        focus = torch.tensor([True, False, True, False])[where]
        scalar = RULES[rule][1](x, of(A, 1.0)[where], of(Z, 0.0)[where], focus)
        (expected,) = torch.autograd.grad(scalar, x)
        signals = signals_of(values, present=present)
        assert_close(build(rule)(signals)[where].double(), expected, rtol=2e-4, atol=1e-5)
        found = build(rule).scalar(signals.values, signals)
        assert_close(found.double(), scalar.detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("closed", ["product", "geometric", "focused", "scale_invariant", "p_norm"])
@pytest.mark.parametrize("scale", [1e-10, 1e-3, 1.0, 1e3, 1e10])
def test_closed_forms_are_the_autograd_form(closed, scale, signals_of):
    # Four losses at 1e10 have a product that float32 cannot hold: proportions are compared.
    weighting, signals = build(closed), signals_of([2.0 * scale, 3.0, 0.5 * math.sqrt(scale), 1.0])
    fast, slow = weighting(signals), Scalarization.forward(weighting, signals)
    assert_close(fast, slow, rtol=1e-4, atol=0)


@pytest.mark.parametrize("common", [True, False])
def test_weights_are_finite_at_any_scale(rule, common, signals_of):
    for exponent in range(-10, 11):
        scale = 10.0 ** torch.tensor([exponent] * 4 if common else [exponent, 0, -exponent, exponent / 2])
        weights = build(rule)(signals_of(torch.tensor([2.0, 3.0, 0.5, 1.0]) * scale))
        assert weights.isfinite().all(), (exponent, weights)


def test_claimed_scale_invariance(rule, signals_of):
    weighting, values = build(rule), torch.tensor([2.0, 3.0, 0.5, 1.0])
    plain = weighting(signals_of(values))
    for scale in [1e-10, 1e-6, 1e6, 1e10]:
        if "common_scale_invariant" in weighting.claims:
            scaled = weighting(signals_of(values * scale))
            assert_close(scaled / scaled.norm(), plain / plain.norm(), rtol=1e-4, atol=0)
        if "loss_scale_invariant" in weighting.claims:
            factor = torch.tensor([1.0, scale, 1.0, 1.0])
            assert_close(weighting(signals_of(values * factor)) * factor, plain)


def test_a_loss_of_zero_gives_finite_weights(rule, signals_of):
    for values in ([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 1.0, 0.0], [0.0] * 4):
        weighting = build(rule)
        weights = weighting(signals_of(values))
        assert weights.isfinite().all(), values
        if weighting.positive:
            assert_close(weights, weighting(signals_of(torch.tensor(values).clamp(min=1e-20))))


def test_order_does_not_matter(rule, signals_of):
    order, values = [2, 0, 3, 1], torch.tensor([2.0, 3.0, 0.5, 1.0])
    shuffled = RULES[rule][0]().bind([NAMES[i] for i in order])
    assert_close(shuffled(signals_of(values[order])), build(rule)(signals_of(values))[order])


@pytest.mark.parametrize("kind", [WeightedMean, Product, Geometric, Tchebycheff, SmoothTchebycheff, PNorm, Cosmos, Pbi])
def test_a_single_loss_has_weight_one(kind, signals_of):
    for value in (1e-10, 0.7, 1e10):
        assert_close(kind().bind(["a"])(signals_of([value])), torch.ones(1))


def test_nothing_is_learned(rule, signals_of, learn):
    weighting, signals = build(rule), signals_of([2.0, 3.0, 0.5, 1.0])
    assert not weighting.state_dict()
    assert not list(weighting.parameters())
    assert_close(learn(weighting, signals), learn(weighting, signals), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mistake", "message"),
    [
        (lambda: WeightedMean({"a": -1.0}), r"finite and not negative, but weights\.a=-1"),
        (lambda: WeightedMean({"a": 0.0}).bind(["a"]), "At least one weight must be above 0"),
        (lambda: Geometric(["z"]).bind(["a"]), "there is no loss 'z'"),
        (lambda: ScaleInvariant({"a": math.inf}), "finite and not negative"),
        (lambda: Tchebycheff({"a": -1.0}), r"preference\.a=-1"),
        (lambda: Tchebycheff({}, {"a": math.nan}), r"ideal\.a=nan"),
        (lambda: Tchebycheff({}, {"y": 0.0}).bind(["a"]), "there is no loss 'y'"),
        (lambda: SmoothTchebycheff(0.0), "`mu` must be above 0"),
        (lambda: SmoothTchebycheff(warmup=0), "`warmup` must be at least 1"),
        (lambda: PNorm(0.5), "`p` must be at least 1"),
        (lambda: Cosmos(-1.0), "`penalty` must be at least 0"),
        (lambda: Pbi(-1.0), "`theta` must be at least 0"),
    ],
)
def test_mistakes(mistake, message):
    with pytest.raises(ConfigError, match=message):
        mistake()
