"""GradDrop: right in expectation, the sum where signs agree, and what leaks is never dropped."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.weightings.graddrop import Graddrop


def bound(size=3, **parameters):
    return Graddrop(**parameters).bind("abcdefgh"[:size])


def textbook(gradients, drawn, leak):
    """Algorithm 1 and its leak, as printed; every division is by something."""
    purity = (1 + gradients.sum(0) / gradients.abs().sum(0)) / 2
    mask = (purity > drawn) * (gradients > 0) + (purity < drawn) * (gradients < 0)
    return ((leak + (1 - leak) * mask) * gradients).sum(0)


@pytest.mark.parametrize("leak", [0.0, 0.3, {"a": 0.8, "c": 0.1}])
def test_it_is_the_textbooks_rule(signals_of, monkeypatch, leak):
    torch.manual_seed(0)
    gradients, drawn = torch.randn(3, 50, 40), torch.rand(50, 40)
    monkeypatch.setattr(torch, "rand", lambda *shape, **options: drawn)
    parts = torch.tensor([0.8, 0.0, 0.1] if isinstance(leak, dict) else [leak] * 3)[:, None, None]
    found = bound(leak=leak).combine(gradients, signals_of([1.0, 1.0, 1.0]))
    torch.testing.assert_close(found, textbook(gradients, drawn, parts))


@pytest.mark.parametrize("leak", [0.0, 0.5])
def test_the_mean_over_draws_is_the_sum_of_gradients(signals_of, leak):
    """100 000 draws, each for a coordinate of its own."""
    gradients = torch.tensor([[1.0, -2.0, 0.5, 0.0, 3.0], [0.5, 1.0, -0.5, -1.0, 2.0], [-2.0, 0.3, 0.1, 4.0, 1.0]])
    draws = 100_000
    found = bound(leak=leak).combine(gradients[:, None].expand(-1, draws, -1), signals_of([1.0, 1.0, 1.0]))
    spread = gradients.abs().sum(0) / draws**0.5
    assert ((found.mean(0) - gradients.sum(0)).abs() <= 4 * spread).all()
    mixed = (gradients > 0).any(0) & (gradients < 0).any(0)
    assert torch.equal(found.std(0) > 1e-3, mixed)


def test_one_draw_for_a_coordinate_is_shared_by_all_losses(signals_of):
    """So what is left in a coordinate has one sign, and is everything of that sign."""
    gradients = torch.randn(4, 1000, generator=torch.Generator().manual_seed(0))
    found = bound(4).combine(gradients, signals_of([1.0] * 4))
    positive, negative = gradients.clamp(min=0).sum(0), gradients.clamp(max=0).sum(0)
    assert ((found == positive) | (found == negative)).all()
    assert 0.3 < (found == positive).float().mean() < 0.7


@pytest.mark.parametrize("sign", [1, -1])
def test_where_signs_agree_it_is_the_sum_exactly(signals_of, sign):
    gradients = sign * torch.rand(5, 100_000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bound(5).combine(gradients, signals_of([1.0] * 5)), gradients.sum(0))


def test_a_leak_of_1_is_the_sum_exactly(signals_of):
    gradients = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bound(leak=1.0).combine(gradients, signals_of([1.0] * 3)), gradients.sum(0))


def test_one_loss_is_left_alone(signals_of):
    gradients = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bound(1).combine(gradients, signals_of([1.0])), gradients[0])


def test_no_gradient_at_all_is_0_and_not_0_over_0(signals_of):
    assert torch.equal(bound().combine(torch.zeros(3, 4, 5), signals_of([1.0] * 3)), torch.zeros(4, 5))


def test_what_is_not_finite_stays_so(signals_of):
    gradients = torch.ones(3, 2)
    for bad in (torch.nan, torch.inf):
        gradients[1, 0] = bad
        found = bound().combine(gradients, signals_of([1.0] * 3))
        assert not found[0].isfinite()
        assert found[1] == 3.0


@pytest.mark.parametrize("by", [2.0**-40, 2.0**40])
def test_a_common_scale_passes_through_and_the_order_does_not_matter(signals_of, by):
    gradients = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))
    signals = signals_of([1.0] * 3)
    found = bound().combine(gradients, signals)
    assert torch.equal(bound().combine(by * gradients, signals), by * found)
    torch.testing.assert_close(bound().combine(gradients[[2, 0, 1]], signals), found)


def test_draws_are_a_function_of_seed_and_step(signals_of):
    gradients = torch.randn(3, 1000, generator=torch.Generator().manual_seed(0))

    def at(seed, step):
        return bound(seed=seed).combine(gradients, signals_of([1.0] * 3, step=step))

    torch.manual_seed(1)
    one = at(0, 5)
    torch.manual_seed(2)
    assert torch.equal(at(0, 5), one)
    assert not torch.equal(at(0, 6), one)
    assert not torch.equal(at(1, 5), one)


def test_it_drops_at_the_features_of_a_network(signals_of):
    torch.manual_seed(0)
    trunk, heads = nn.Linear(5, 400), nn.ModuleDict({name: nn.Linear(400, 1) for name in "ab"})
    balancer = Balancer(list(heads), "graddrop")
    features = trunk(torch.randn(8, 5))
    features.retain_grad()
    fork = balancer.fork(features)
    losses = {name: head(fork[name]).square() for name, head in heads.items()}
    balancer(losses, anchor=fork).backward()
    apart = features.detach().requires_grad_()
    gradients = torch.stack([torch.autograd.grad(heads[n](apart).square().mean(), apart)[0] for n in heads])
    same = gradients[0].sign() == gradients[1].sign()
    assert 0.2 < same.float().mean() < 0.8
    torch.testing.assert_close(features.grad[same], gradients.sum(0)[same])
    kept = [(features.grad[~same] - gradient[~same]).abs() < 1e-8 for gradient in gradients]
    assert (kept[0] ^ kept[1]).all()
    assert balancer.weights == {"a": 1.0, "b": 1.0}


def test_a_part_must_be_a_part():
    with pytest.raises(ConfigError, match=r"`leak` must lie in \[0, 1\], but leak=1.5"):
        Graddrop(leak=1.5)
    with pytest.raises(ConfigError, match=r"`leak.a` must lie in \[0, 1\], but leak.a=-1"):
        Graddrop(leak={"a": -1})
    with pytest.raises((ConfigError, UnknownNameError), match="no loss 'z'"):
        Graddrop(leak={"z": 0.5}).bind(["a", "b"])
