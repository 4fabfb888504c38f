"""When a step through a fork is learned from: its backwards, its window, what leaves it out."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.clock import Clock
from autoloss.core.errors import NonFiniteError
from autoloss.core.table import LossTable
from autoloss.training.step.player import Player
from autoloss.weightings.gradnorm import Gradnorm
from tests.training.step.forks import NAMES, batches, expected, losses_of, state_of, through_fork


@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("weighting", ["gradnorm", "uncertainty", "dwa", "balancer"])
def test_four_micro_batches_teach_what_one_batch_does(net, weighting, mean, together):
    """Whether each has a backward of its own or all have one, and whether the totals are divided or not."""
    whole, parts = Balancer(NAMES, weighting), Balancer(NAMES, weighting, accumulate=4)
    for data in batches(4, size=16):
        through_fork(net, whole, data).total.backward()
        totals = []
        for part in data.split(4):
            total = through_fork(net, parts, part).total / (4 if mean else 1)
            totals.append(total) if together else total.backward()
        if together:
            sum(totals).backward()
    for name, value in state_of(whole).items():
        if name.startswith("weighting"):
            torch.testing.assert_close(state_of(parts)[name], value, rtol=1e-4, atol=1e-6, equal_nan=True, msg=name)
    assert whole.clock.step == parts.clock.step == 4


def test_the_state_moves_after_the_last_backward_of_the_window_and_only_then(net):
    balancer = Balancer(NAMES, "gradnorm", accumulate=2)
    first, second = batches(2)
    before = state_of(balancer)
    through_fork(net, balancer, first).total.backward()
    late = through_fork(net, balancer, second).total
    assert torch.equal(state_of(balancer)["weighting.weights"], before["weighting.weights"])
    late.backward()
    assert not torch.equal(state_of(balancer)["weighting.weights"], before["weighting.weights"])


def test_totals_that_wait_for_their_backward_do_not_mix(net):
    """Two steps are under way at once; each learns from its own signals."""
    one, other = Balancer(NAMES, "gradnorm"), Balancer(NAMES, "gradnorm")
    first, second = batches(2)
    totals = [through_fork(net, one, data).total for data in (first, second)]
    for total in totals:
        total.backward()
    for data in (first, second):
        through_fork(net, other, data).total.backward()
    torch.testing.assert_close(state_of(one), state_of(other))


def test_a_step_without_a_backward_teaches_nothing(net):
    one, other = Balancer(NAMES, "gradnorm"), Balancer(NAMES, "gradnorm")
    first, second = batches(2)
    through_fork(net, one, second)
    through_fork(net, one, first).total.backward()
    through_fork(net, other, first).total.backward()
    assert torch.equal(state_of(one)["weighting.weights"], state_of(other)["weighting.weights"])


@pytest.mark.parametrize("how", ["frozen", "eval"])
def test_frozen_uses_the_last_weights_again(net, how):
    balancer = Balancer(NAMES, "pcgrad", base={"b": 0.5})
    first, second = batches(2)
    through_fork(net, balancer, first).total.backward()
    before, weights = state_of(balancer), balancer.weights
    if how == "eval":
        balancer.eval()
        step = through_fork(net, balancer, second)
    else:
        with balancer.frozen():
            step = through_fork(net, balancer, second)
    (7 * step.total).backward()
    torch.testing.assert_close(step.features.grad, 7 * expected(net, second, weights), rtol=1e-4, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in state_of(balancer).items())
    with torch.no_grad():
        assert not through_fork_without_graph(net, balancer, second).requires_grad


def through_fork_without_graph(net, balancer, data):
    fork = balancer.fork(net["trunk"](data))
    return balancer(losses_of(net, fork), anchor=fork)


def test_a_look_ahead_sees_the_step_through_the_fork(net):
    forked, plain = Balancer(NAMES, "famo"), Balancer(NAMES, "famo")
    other = nn.ModuleDict({name: nn.Linear(m.in_features, m.out_features) for name, m in net.items()})
    for data in batches(3):
        for balancer, of in ((forked, True), (plain, False)):
            other.load_state_dict(net.state_dict())
            other.zero_grad()
            optimizer = torch.optim.SGD(other["trunk"].parameters(), lr=0.01)

            def losses(module, balancer=balancer, of=of, data=data):
                features = module["trunk"](data)
                fork = balancer.fork(features) if of else None
                return losses_of(module, fork or dict.fromkeys(NAMES, features)), fork

            with balancer.lookahead(other, train=lambda module, losses=losses: losses(module)[0]):
                found, fork = losses(other)
                balancer(found, anchor=fork).backward()
                optimizer.step()
    # The steps differ in nothing, since heads are not stepped.
    for name, value in state_of(plain).items():
        torch.testing.assert_close(state_of(forked)[name], value, rtol=1e-4, atol=1e-6, msg=name)


def test_a_batch_that_is_left_out_needs_no_backward(net):
    balancer = Balancer(NAMES, "gradnorm", on_nonfinite="skip")
    first, second = batches(2)
    bad = through_fork(net, balancer, first, lambda losses: losses | {"b": losses["b"] / 0})
    bad.total.backward()
    assert bad.features.grad is None
    through_fork(net, balancer, second).total.backward()
    assert balancer.skipped == 1
    assert balancer.clock.step == 2
    with pytest.raises(NonFiniteError, match="'b' is inf|'b' is nan"):
        through_fork(net, Balancer(NAMES, "mgda"), first, lambda losses: losses | {"b": losses["b"] / 0})


def test_a_commit_leaves_out_what_had_no_backward(net):
    one, other = Player(NAMES, Gradnorm()), Player(NAMES, Gradnorm())
    first, second = batches(2)
    for player, of in ((one, (first, second)), (other, (second,))):
        for data in of:
            fork = player.fork(net["trunk"](data))
            weighed = player.step(LossTable(losses_of(net, fork), fork), Clock())
            if data is second:
                weighed.total.backward()
        player.commit()
    assert not torch.equal(one.weighting.weights, torch.ones(3))
    assert torch.equal(one.weighting.weights, other.weighting.weights)
