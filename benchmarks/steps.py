"""The steps that the cost benchmark compares, each a function without arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lenet import Lenet, batch
from torch import Tensor
from torch.nn import functional

from autoloss import Balancer

Step = Callable[[], None]


class Setting:
    """A network with K heads, its optimiser, and one batch."""

    def __init__(self, size: int, device: str) -> None:
        torch.manual_seed(0)
        self.names = [f"t{k}" for k in range(size)]
        self.net = Lenet(size).to(device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=1e-3)
        self.images, self.classes = batch(size, device)

    def losses(self) -> tuple[Tensor, dict[str, Tensor]]:
        """The shared features, and the loss of each head."""
        features, outs = self.net(self.images)
        pairs = zip(self.names, outs, self.classes, strict=True)
        return features, {name: functional.cross_entropy(out, classes) for name, out, classes in pairs}

    def finish(self, total: Tensor) -> None:
        """Backward and the optimiser's step."""
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()


def plain(size: int, device: str) -> Step:
    """A plain sum."""
    setting = Setting(size, device)

    def step() -> None:
        setting.finish(torch.stack(list(setting.losses()[1].values())).sum())

    return step


def ours(
    size: int, device: str, weighting: str | Mapping[str, Any], anchor: str = "features", bounded: bool = False
) -> Step:
    """The losses weighed by ``weighting``, gradients compared at the features or at all shared parameters.

    If they are ``bounded``, each but the first has a bound that it breaks at first.
    """
    setting = Setting(size, device)
    bounds = {name: {"max": 1.0} for name in setting.names[1:]} if bounded else {}
    balancer = Balancer(setting.names, weighting, constraints=bounds, total_steps=1000).to(device)
    shared = list(setting.net.trunk.parameters())

    def step() -> None:
        features, losses = setting.losses()
        setting.finish(balancer(losses, anchor=features if anchor == "features" else shared))

    return step


def ahead(size: int, device: str, weighting: str) -> Step:
    """The losses weighed by a weighting that evaluates the batch again after the step."""
    setting = Setting(size, device)
    balancer = Balancer(setting.names, weighting).to(device)

    def step() -> None:
        with balancer.lookahead(setting.net, train=lambda net: setting.losses()[1]):
            setting.finish(balancer(setting.losses()[1]))

    return step


def forked(size: int, device: str, weighting: str, at: str = "features") -> Step:
    """Each loss computed from its own copy of the features; the gradients meet there, or at all shared parameters."""
    setting = Setting(size, device)
    balancer, net = Balancer(setting.names, weighting).to(device), setting.net

    def step() -> None:
        fork = balancer.fork(net.trunk(setting.images), at)
        heads = zip(setting.names, net.heads, setting.classes, strict=True)
        losses = {n: functional.cross_entropy(head(fork[n]), classes) for n, head, classes in heads}
        setting.finish(balancer(losses, anchor=fork))

    return step


def torchjd(size: int, device: str, chunk: int | None) -> Step:
    """TorchJD's ``mtl_backward`` with MGDA over all shared parameters."""
    from torchjd.aggregation import MGDA
    from torchjd.autojac import jac_to_grad, mtl_backward

    setting = Setting(size, device)
    aggregator = MGDA()
    shared = list(setting.net.trunk.parameters())
    heads = [list(head.parameters()) for head in setting.net.heads]

    def step() -> None:
        features, losses = setting.losses()
        setting.optimizer.zero_grad()
        mtl_backward(
            list(losses.values()),
            features=features,
            tasks_params=heads,
            shared_params=shared,
            parallel_chunk_size=chunk,
        )
        jac_to_grad(shared, aggregator)
        setting.optimizer.step()

    return step
