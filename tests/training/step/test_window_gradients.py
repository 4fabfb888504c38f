"""The documents say for which weightings the gradients of a window are those of one batch."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.need import OUTCOME
from autoloss.core.registry.lookup import registry
from autoloss.core.signals import Signals
from autoloss.core.surgery import Surgery
from tests.training.step.windows import built, losses_of


def listed(which):
    """The weightings that docs/migrating.md lists."""
    text = (Path(__file__).parents[3] / "docs/migrating.md").read_text()
    return set(re.findall("`(.+?)`", text.split(f"<!-- {which} -->")[1].split("<!-- -->")[0]))


def steady(name):
    """Whether the weights of a micro-batch do not depend on the micro-batch."""
    weighting = built(name).bind(("a", "b", "c"))
    if isinstance(weighting, Surgery):
        return False
    if weighting.needs & OUTCOME:
        three = torch.tensor([True] * 3)
        for buffer in weighting.buffers():  # a rule that has not learned yet gives 1
            buffer.copy_(torch.rand(buffer.shape, generator=torch.Generator().manual_seed(0)))
        seen = [weighting(Signals(("a", "b", "c"), torch.tensor(v), three)) for v in ([1.0, 2, 3], [5.0, 1, 0.1])]
        return torch.equal(*seen)
    worst = 0.0
    for seed in range(2):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
        whole, parts = (Balancer("abc", built(name), accumulate=n, total_steps=10) for n in (1, 4))
        for _ in range(4):
            x, found = torch.randn(32, 5), []
            for balancer, cuts in ((whole, [x]), (parts, x.chunk(4))):
                net.zero_grad()
                for cut in cuts:
                    losses = {n: 10.0**k * v for k, (n, v) in enumerate(losses_of(net, cut).items())}
                    balancer(losses, anchor=net[0].weight, items=32).backward()
                found.append(torch.cat([p.grad.flatten() for p in net.parameters()]))
            worst = max(worst, float((found[0] - found[1]).norm() / found[0].norm()))
    return worst < 1e-5


@pytest.mark.parametrize("name", registry.names("weighting"))
def test_the_documents_say_which_gradients_of_a_window_are_those_of_one_batch(name):
    assert (name in listed("exact"), name in listed("own")) == (steady(name), not steady(name))
