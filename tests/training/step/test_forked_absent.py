"""Losses of a fork that are absent, or stand apart."""

import pytest
import torch

from autoloss import Balancer, Entry, Weighting
from tests.training.step.forks import NAMES, batches, expected, gradients_apart, losses_of, through_fork


def test_a_loss_that_comes_through_nothing_stands_apart(net):
    names = [*NAMES, "kl"]
    balancer, without = Balancer(names, "mgda", base={"kl": 0.1}), Balancer(NAMES, "mgda")
    for data in batches(3):
        net.zero_grad()
        step = through_fork(net, balancer, data, lambda losses: losses | {"kl": net["trunk"].bias.square().sum()})
        step.total.backward()
        direct = net["trunk"].bias.grad - step.features.grad.sum(0)
        torch.testing.assert_close(direct, 0.2 * net["trunk"].bias.detach())
        through_fork(net, without, data).total.backward()
        assert balancer.weights == pytest.approx({**without.weights, "kl": 0.1}, rel=1e-5)


@pytest.mark.parametrize("weighting", ["mgda", "graddrop"])
@pytest.mark.parametrize("past", [False, True])
def test_an_unbalanced_loss_keeps_its_base_weight_by_either_way(net, weighting, past):
    balancer = Balancer(NAMES, weighting, base={"b": 0.3}, unbalanced=["b"])
    without = Balancer("ac", weighting)
    data = batches(1)[0]
    features = net["trunk"](data)
    features.retain_grad()
    fork = balancer.fork(features)
    of = {**fork, "b": features} if past else fork
    balancer(losses_of(net, of), anchor=fork).backward()
    assert balancer.weights["b"] == pytest.approx(0.3)
    other = net["trunk"](data)
    other.retain_grad()
    fork = without.fork(other)
    without({n: losses_of(net, {**fork, "b": fork["a"]})[n] for n in "ac"}, anchor=fork).backward()
    b = gradients_apart(net, data)["b"]
    torch.testing.assert_close(features.grad, other.grad + 0.3 * b, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "pcgrad", "graddrop"])
def test_an_absent_loss_takes_no_part(net, weighting):
    balancer, without = Balancer(NAMES, weighting), Balancer("ac", weighting)
    data = batches(1)[0]
    with_none = through_fork(net, balancer, data, lambda losses: losses | {"b": None})
    with_none.total.backward()
    features = net["trunk"](data)
    features.retain_grad()
    fork = without.fork(features)
    losses = losses_of(net, {**fork, "b": fork["a"]})
    without({n: losses[n] for n in "ac"}, anchor=fork).backward()
    torch.testing.assert_close(with_none.features.grad, features.grad)
    assert {n: balancer.weights[n] for n in "ac"} == pytest.approx(without.weights)
    masked = through_fork(net, Balancer(NAMES, weighting), data, lambda x: x | {"b": Entry(x["b"], torch.zeros(8) > 0)})
    masked.total.backward()
    torch.testing.assert_close(masked.features.grad, features.grad)


class Careless(Weighting):
    def forward(self, signals):
        return torch.where(signals.present, 2.0, torch.nan)


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
@pytest.mark.parametrize("masked", [False, True])
def test_what_is_answered_for_an_absent_loss_is_ignored(net, masked):
    data, nobody = batches(1)[0], torch.zeros(8, dtype=torch.bool)

    def without_b(losses):
        return losses | {"b": Entry(losses["b"], nobody) if masked else None}

    step = through_fork(net, Balancer(NAMES, Careless()), data, without_b)
    step.total.backward()
    torch.testing.assert_close(step.features.grad, expected(net, data, {"a": 2.0, "b": 0.0, "c": 2.0}))


def test_what_is_answered_for_a_loss_that_stands_apart_is_ignored(net):
    data = batches(1)[0]
    step = through_fork(net, Balancer(NAMES, Careless(), unbalanced=["b"]), data)
    step.total.backward()
    torch.testing.assert_close(step.features.grad, expected(net, data, {"a": 2.0, "b": 1.0, "c": 2.0}))
