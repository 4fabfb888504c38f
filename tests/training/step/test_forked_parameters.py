"""A fork whose gradients meet at all parameters of the trunk: exact, for one pass less than a probe there."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError

NAMES = "abc"


def trunk_and_heads():
    torch.manual_seed(0)
    trunk = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 4))
    heads = nn.ModuleDict({name: nn.Linear(4, 3) for name in NAMES})
    with torch.no_grad():
        for name, bias in {"b": 2.0, "c": -1.5}.items():
            heads[name].weight.copy_(heads["a"].weight + 0.3 * heads[name].weight)
            heads[name].bias.fill_(bias)
    return trunk, heads


def losses_of(heads, of):
    return {n: heads[n](of[n]).square().mean(1) * 2.0**k for k, n in enumerate(NAMES)}


def batches(steps, size=8):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 5, generator=generator) for _ in range(steps)]


def forked_step(trunk, heads, balancer, data, scale=1.0):
    fork = balancer.fork(trunk(data), at="parameters")
    (balancer(losses_of(heads, fork), anchor=fork) * scale).backward()


def probed_step(trunk, heads, balancer, data):
    features = trunk(data)
    losses = losses_of(heads, dict.fromkeys(NAMES, features))
    balancer(losses, anchor=list(trunk.parameters())).backward()


def gradients(module):
    return [p.grad.clone() for p in module.parameters()]


@pytest.mark.parametrize("options", [{}, {"base": {"a": 0.5, "pair": 2.0}, "groups": {"pair": ["a", "c"]}}])
@pytest.mark.parametrize("weighting", ["mgda", "pcgrad", "gradnorm", "uncertainty"])
def test_trunk_and_weights_are_those_of_a_probe_at_the_parameters(weighting, options):
    (trunk, heads), (other, others) = trunk_and_heads(), trunk_and_heads()
    forked, probed = Balancer(NAMES, weighting, **options), Balancer(NAMES, weighting, **options)
    for data in batches(4):
        trunk.zero_grad()
        other.zero_grad()
        forked_step(trunk, heads, forked, data)
        probed_step(other, others, probed, data)
        assert forked.weights == pytest.approx(probed.weights, rel=1e-4)
        for mine, theirs in zip(gradients(trunk), gradients(other), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_heads_get_the_gradient_of_their_own_loss():
    trunk, heads = trunk_and_heads()
    data = batches(1)[0]
    forked_step(trunk, heads, Balancer(NAMES, "mgda"), data)
    losses = losses_of(heads, dict.fromkeys(NAMES, trunk(data).detach()))
    for name in NAMES:
        own = torch.autograd.grad(losses[name].mean(), list(heads[name].parameters()))
        for parameter, gradient in zip(heads[name].parameters(), own, strict=True):
            torch.testing.assert_close(parameter.grad, gradient)


def test_micro_batches_teach_what_one_batch_does():
    (trunk, heads), (other, others) = trunk_and_heads(), trunk_and_heads()
    whole, parts = Balancer(NAMES, "gradnorm"), Balancer(NAMES, "gradnorm", accumulate=4)
    for data in batches(3, 16):
        forked_step(trunk, heads, whole, data)
        for part in data.split(4):
            forked_step(other, others, parts, part, scale=0.25)
    for name, value in whole.player.weighting.state_dict().items():
        torch.testing.assert_close(parts.player.weighting.state_dict()[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_a_scaled_total_scales_the_trunk_and_nothing_else():
    (trunk, heads), (other, others) = trunk_and_heads(), trunk_and_heads()
    scaled, plain = Balancer(NAMES, "mgda"), Balancer(NAMES, "mgda")
    data = batches(1)[0]
    forked_step(trunk, heads, scaled, data, scale=1024.0)
    forked_step(other, others, plain, data)
    assert scaled.weights == pytest.approx(plain.weights, rel=1e-5)
    for mine, theirs in zip(gradients(trunk), gradients(other), strict=True):
        torch.testing.assert_close(mine / 1024, theirs, rtol=1e-5, atol=1e-8)


def test_what_goes_past_the_trunk_is_added():
    (trunk, heads), (other, others) = trunk_and_heads(), trunk_and_heads()
    data = batches(1)[0]
    penalised = Balancer([*NAMES, "decay"], "mgda", base={"decay": 0.1}, unbalanced=["decay"])
    fork = penalised.fork(trunk(data), at="parameters")
    decay = sum(p.square().sum() for p in trunk.parameters())
    penalised({**losses_of(heads, fork), "decay": decay}, anchor=fork).backward()
    forked_step(other, others, Balancer(NAMES, "mgda"), data)
    for parameter, theirs in zip(trunk.parameters(), gradients(other), strict=True):
        torch.testing.assert_close(parameter.grad, theirs + 0.2 * parameter.detach(), rtol=1e-4, atol=1e-6)


def test_another_place_is_told():
    trunk, _ = trunk_and_heads()
    with pytest.raises(ConfigError, match="`at` must be 'features' or 'parameters', but at='heads'"):
        Balancer(NAMES, "mgda").fork(trunk(batches(1)[0]), at="heads")
