"""Look-aheads at steps that an optimiser's hook sees, made in any way."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError, SignalError
from autoloss.probe.optimizer_step import observe_step
from tests.training.step.unrolled import NAMES, aligned, entries, setting


def ahead(how, clip=None, scale=1.0):
    """What auto_lambda is told in two steps, of 3 and of 1 micro-batches, and the parameters after them.

    Gradients are those of ``scale`` times the total, unscaled and then clipped.
    """
    net, optimizer = setting("adam")
    optimizers, parts = [optimizer], list(net.parameters())
    if how == "two optimisers":
        optimizers = [torch.optim.Adam(parts[:5], lr=0.01), torch.optim.Adam(parts[5:], lr=0.01)]
    elif how == "accelerate":
        accelerator = pytest.importorskip("accelerate").Accelerator(cpu=True)
        optimizers = [accelerator.prepare(torch.optim.Adam(parts, lr=0.01))]
    else:
        optimizers = [torch.optim.Adam(parts, lr=0.01)]
    net.zero_grad()  # those of `setting` are not scaled
    balancer = Balancer(NAMES, "auto_lambda")
    balancer.watch(optimizers[-1])
    told = aligned(balancer)
    for number in (3, 1):
        held = torch.randn(12, 4).double()
        for i, x in enumerate(torch.randn(number, 8, 4).double(), 1):
            items = {"a": 8 * number, "b": 8 * number, "c": 8 * number} if how == "items" else None
            with balancer.lookahead(
                net,
                optimizers if len(optimizers) > 1 else optimizers[0],
                train=lambda net, x=x: plain_entries(net, x),
                held_out=lambda net, held=held: plain_entries(net, held),
            ):
                total = balancer(plain_entries(net, x), items=items)
                (scale * total if items else scale * total / number).backward()
                if i == number:
                    for part in parts:
                        if part.grad is not None:
                            part.grad /= scale
                    if clip is not None:
                        assert nn.utils.clip_grad_norm_(parts, clip) > 2 * clip
                    for one in optimizers:
                        one.step()
            if i == number:
                for one in optimizers:
                    one.zero_grad()
    assert balancer.clock.step == 2
    return torch.stack(told), torch.cat([p.detach().flatten() for p in parts])


def plain_entries(net, x):
    return {name: entry.values for name, entry in entries(net, x).items()}


@pytest.mark.parametrize("how", ["two optimisers", "accelerate", "items"])
def test_a_look_ahead_sees_a_watched_step_made_in_any_way(how):
    told, parameters = ahead("plain")
    found, others = ahead(how)
    # A number of items is a float32.
    torch.testing.assert_close(found, told, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(others, parameters, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("how", ["plain", "two optimisers", "accelerate", "items"])
def test_the_factor_of_clipping_is_known_in_each_of_them(how):
    unclipped, _ = ahead("plain")
    told, parameters = ahead("plain", clip=1e-2)
    assert not torch.allclose(told, unclipped, rtol=1e-2)
    found, others = ahead(how, clip=1e-2, scale=64.0)
    torch.testing.assert_close(found, told, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(others, parameters, rtol=1e-5, atol=1e-6)


def test_an_optimiser_that_is_not_named_is_spoken_of():
    net = nn.Linear(4, 2)
    optimizers = [torch.optim.SGD([p], lr=0.1) for p in net.parameters()]
    x = torch.randn(8, 4)
    balancer = Balancer("ab", "auto_lambda")
    losses_of = lambda net: dict(zip("ab", net(x).square().unbind(1), strict=True))  # noqa: E731
    around = balancer.lookahead(net, optimizers[0], train=losses_of, held_out=losses_of)
    around.__enter__()
    balancer(losses_of(net)).backward()
    for one in optimizers:
        one.step()
    with pytest.raises(SignalError, match=r"name all: balancer\.lookahead"):
        around.__exit__(None, None, None)


def test_others_wrappers_are_not_looked_through():
    class Slow(torch.optim.SGD):
        """A step of its own around the optimiser inside."""

        def __init__(self, inner):
            super().__init__(inner.param_groups, lr=0.1)
            self.optimizer = inner

    net = nn.Linear(4, 2)
    with pytest.raises(ConfigError, match="but this is Slow"), observe_step(Slow(torch.optim.SGD(net.parameters()))):
        pass
