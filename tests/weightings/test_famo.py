"""FAMO: the paper's weights and logits, and a look ahead that disturbs nothing."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import NonPositiveError, SignalError
from autoloss.weightings.famo import Famo


def test_the_first_weights(signals_of):
    weights = Famo().bind("abc")(signals_of([1.0, 2.0, 4.0]))
    assert (weights / 3).tolist() == pytest.approx([0.5714, 0.2857, 0.1429], abs=1e-4)


def logits_gradient(signals_of, before, after):
    weighting = Famo(lr=1.0, gamma=0.0).bind("abc")
    seen = {}
    weighting.adam.step = lambda value, gradient: seen.update(gradient=gradient)
    weighting.update(replace(signals_of(before), measured_after=torch.tensor(after)))
    return seen["gradient"].tolist()


def test_an_equal_relative_fall_changes_nothing(signals_of):
    assert logits_gradient(signals_of, [1.0, 2.0, 4.0], [0.9, 1.8, 3.6]) == pytest.approx([0.0] * 3, abs=1e-6)


def test_the_loss_that_fell_alone_gets_less(signals_of):
    after = [float(torch.exp(torch.tensor(-0.3))), 1.0, 1.0]
    assert logits_gradient(signals_of, [1.0] * 3, after) == pytest.approx([0.0667, -0.0333, -0.0333], abs=1e-4)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.heads = nn.ModuleList([nn.Linear(8, 1) for _ in range(2)])

    def forward(self, x):
        z = self.trunk(x)
        return {n: h(z).square().mean() + 0.1 for n, h in zip("ab", self.heads, strict=True)}


def train(weighting, accumulate=1, parts=1):
    torch.manual_seed(0)
    net, balancer = Net(), Balancer("ab", weighting, accumulate=accumulate)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    draws = []
    for _ in range(4):
        x = torch.randn(8 * parts, 4)
        optimizer.zero_grad()
        for part in x.chunk(parts):
            with balancer.lookahead(net, train=lambda net, part=part: net(part)):
                total = balancer(net(part))
                (total / parts).backward()
                if part is x.chunk(parts)[-1] or torch.equal(part, x.chunk(parts)[-1]):
                    optimizer.step()
        draws.append(float(torch.rand(())))
    return net, balancer, draws


def test_looking_ahead_moves_neither_buffers_nor_random_numbers():
    net, balancer, draws = train("famo")
    plain, _, expected = train({"name": "fixed", "weights": {}})
    assert draws == expected
    assert int(net.trunk[1].num_batches_tracked) == int(plain.trunk[1].num_batches_tracked) == 4
    assert balancer.player.weighting.xi.abs().max() > 0


def test_the_second_look_sees_the_same_dropout_mask():
    torch.manual_seed(0)
    net, balancer = Net(), Balancer("ab", Famo(lr=1.0))
    x = torch.randn(8, 4)
    with balancer.lookahead(net, train=lambda net: net(x)):
        balancer(net(x)).backward()  # and no step: nothing changed, so nothing is to be learned
    assert balancer.player.weighting.xi.tolist() == [0.0, 0.0]


def test_accumulated_micro_batches_are_all_looked_at_again():
    _, balancer, _ = train("famo", accumulate=2, parts=2)
    assert balancer.clock.step == 4
    assert float(balancer.player.weighting.adam.steps[0]) == 4


def test_a_step_outside_a_look_ahead_is_an_error():
    with pytest.raises(SignalError, match="'famo' needs the losses again after the step"):
        Balancer("ab", "famo")({"a": torch.ones(()), "b": torch.ones(())})


def step(balancer, value):
    torch.manual_seed(0)
    net, x = nn.Linear(2, 1), torch.ones(3, 2)
    losses = lambda net: {"a": net(x).square().mean(), "b": net(x).square().mean() + value}  # noqa: E731
    with balancer.lookahead(net, train=losses):
        balancer(losses(net)).backward()
    return balancer.weights


@pytest.mark.parametrize("wrap", [[], ["clamp"]])
def test_a_loss_below_its_bound_is_refused_by_name(wrap):
    with pytest.raises(NonPositiveError, match=r"'b' is -.* at step 0. Give a lower bound of that loss in `lowest`"):
        step(Balancer("ab", {"name": "famo", "wrap": wrap}), -5.0)
    weights = step(Balancer("ab", {"name": "famo", "lowest": {"b": -6.0}, "wrap": wrap}), -5.0)
    assert min(weights.values()) > 0
    with pytest.raises(NonPositiveError, match=r"needs losses of at least 2, but loss 'b'"):
        step(Balancer("ab", {"name": "famo", "lowest": {"b": 2.0}, "wrap": wrap}), 0.0)


def test_an_absent_loss_is_not_below_its_bound():
    balancer = Balancer("ab", {"name": "famo", "lowest": {"b": 2.0}})
    p = torch.ones((), requires_grad=True)
    with balancer.lookahead(nn.Linear(1, 1), train=lambda net: {"a": p}):
        balancer({"a": p, "b": None}).backward()
    assert balancer.weights["a"] == 1
