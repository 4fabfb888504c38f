"""Steps through a fork, and the gradients that they are compared with."""

from types import SimpleNamespace

import torch

NAMES = "abc"


def batches(steps, size=8):
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(size, 5, generator=generator) for _ in range(steps)]


def losses_of(net, of):
    return {n: net[n](of[n]).square().mean(1) * 2.0**k for k, n in enumerate(NAMES)}


def through_fork(net, balancer, data, change=lambda losses: losses, **options):
    """One step; the total, the features (which keep their gradient), and the losses."""
    features = net["trunk"](data)
    features.retain_grad()
    fork = balancer.fork(features)
    losses = change(losses_of(net, fork))
    return SimpleNamespace(total=balancer(losses, anchor=fork, **options), features=features, losses=losses)


def gradients_apart(net, data, names=NAMES):
    """The gradient of each loss at the features, by a backward of its own."""
    features = net["trunk"](data)
    losses = losses_of(net, dict.fromkeys(NAMES, features))
    return {n: torch.autograd.grad(losses[n].mean(), features, retain_graph=True)[0] for n in names}


def expected(net, data, weights):
    return sum(weights[n] * g for n, g in gradients_apart(net, data).items())


def state_of(balancer):
    return {name: value.clone() for name, value in balancer.player.state_dict().items()}
