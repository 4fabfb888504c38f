"""Penalties on the discriminator's slope, where it is known."""

import pytest
import torch
from torch import nn

from autoloss.core.errors import ConfigError
from autoloss.losses.gradient_penalty import GradientPenalty
from autoloss.losses.r1 import R1
from autoloss.losses.r2 import R2

SLOPE = torch.tensor([3.0, -4.0])  # of length 5


def linear(x: torch.Tensor) -> torch.Tensor:
    return x @ SLOPE.to(x.dtype)


@pytest.mark.parametrize(
    ("penalty", "wanted"),
    [(R1(gamma=2.0), 25.0), (R2(gamma=0.5), 6.25), (GradientPenalty(strength=10.0), 160.0)],
    ids=["r1", "r2", "gradient_penalty"],
)
def test_a_linear_discriminator(penalty, wanted: float) -> None:
    x = penalty.inputs(torch.randn(6, 2), torch.randn(6, 2))
    assert torch.allclose(penalty(linear(x), x), torch.full((6,), wanted), rtol=1e-5)


def test_where_they_look() -> None:
    real, fake = torch.randn(5, 3), torch.randn(5, 3)
    assert torch.equal(R1().inputs(real, fake), real)
    assert torch.equal(R2().inputs(real, fake), fake)
    between = GradientPenalty().inputs(real, fake)
    shares = (between - fake) / (real - fake)
    assert torch.allclose(shares, shares[:, :1].expand(5, 3), atol=1e-4), "one share for each sample"
    assert ((shares >= 0) & (shares <= 1)).all()
    assert shares[:, 0].unique().numel() == 5


@pytest.mark.parametrize("penalty", [R1(), R2(), GradientPenalty()], ids=lambda p: p.title())
def test_gradient_reaches_the_discriminator_and_matches_finite_differences(penalty) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    x = penalty.inputs(torch.randn(4, 3).double(), torch.randn(4, 3).double()).detach()

    def value(*weights: torch.Tensor) -> torch.Tensor:
        at = x.clone().requires_grad_()
        names = [name for name, _ in net.named_parameters()]
        return penalty(torch.func.functional_call(net, dict(zip(names, weights, strict=True)), (at,)), at)

    weights = [w.detach().clone().requires_grad_() for w in net.parameters()]
    torch.autograd.gradcheck(lambda *some: value(*some, weights[3]), weights[:3])  # the last bias has no part in it


def test_a_sample_is_penalised_for_its_own_slope_only() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))
    x = torch.randn(4, 3, requires_grad=True)
    alone = torch.cat([R1()(net(one), one) for one in (x[i : i + 1].detach().requires_grad_() for i in range(4))])
    assert torch.allclose(R1()(net(x), x), alone, rtol=1e-5)


def test_a_flat_discriminator_has_a_finite_gradient() -> None:
    weight = torch.zeros(2, requires_grad=True)
    x = GradientPenalty().inputs(torch.randn(3, 2), torch.randn(3, 2))
    value = GradientPenalty()(x @ weight, x)
    assert torch.allclose(value, torch.tensor(10.0), atol=1e-3)
    value.sum().backward()
    assert weight.grad is not None
    assert weight.grad.isfinite().all()


def test_logits_of_other_inputs_are_an_error() -> None:
    x = R1().inputs(torch.randn(3, 2), torch.randn(3, 2))
    weight = torch.ones(2, requires_grad=True)
    with pytest.raises(ConfigError, match="from the given inputs, but these do not depend on them"):
        R1()(x.clone().detach() @ weight, x)
    with pytest.raises(ConfigError, match="that require gradients, but these were not"):
        R1()(linear(x.detach()), x.detach())


def test_every_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="`every` must be at least 1, but every=0"):
        R1(every=0)
