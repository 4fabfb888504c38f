"""A step through a fork: the features get the weighted gradient, heads their own, and the state learns the same."""

import csv

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import SignalError
from tests.training.step.forks import NAMES, batches, expected, gradients_apart, losses_of, state_of, through_fork

METHODS = ["mgda", "pcgrad", "gradnorm", "uncertainty", "balancer", "smooth_tchebycheff"]


def check_step(net, forked, plain, data, rel=1e-4):
    """One step through the fork has the weights of one without a fork, and their gradient at the features."""
    step = through_fork(net, forked, data)
    step.total.backward()
    features = net["trunk"](data)
    plain(losses_of(net, dict.fromkeys(NAMES, features)), anchor=features)
    assert forked.weights == pytest.approx(plain.weights, rel=rel)
    torch.testing.assert_close(step.features.grad, expected(net, data, forked.weights), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("weighting", METHODS)
def test_the_features_get_the_weighted_gradient_and_the_state_learns_as_ever(net, weighting):
    forked, plain = Balancer(NAMES, weighting), Balancer(NAMES, weighting)
    for data in batches(4):
        check_step(net, forked, plain, data)
    for name, value in state_of(plain).items():
        torch.testing.assert_close(state_of(forked)[name], value, rtol=1e-4, atol=1e-6, equal_nan=True, msg=name)
    assert forked.clock.step == 4


def test_the_weights_are_not_all_ones(net):
    """Otherwise the test above would hold for a plain sum."""
    for weighting in METHODS:
        balancer = Balancer(NAMES, weighting)
        for data in batches(4):
            through_fork(net, balancer, data).total.backward()
        assert max(abs(w - 1) for w in balancer.weights.values()) > 1e-3, weighting


@pytest.mark.parametrize("weighting", ["mgda", "uncertainty", "graddrop"])
def test_heads_get_the_gradient_of_their_loss_with_its_base_weight(net, weighting):
    balancer = Balancer(NAMES, weighting, base={"b": 0.3})
    for data in batches(3):
        net.zero_grad()
        through_fork(net, balancer, data).total.backward()
        losses = losses_of(net, dict.fromkeys(NAMES, net["trunk"](data).detach()))
        for name, base in {"a": 1.0, "b": 0.3, "c": 1.0}.items():
            parameters = list(net[name].parameters())
            for parameter, gradient in zip(
                parameters, torch.autograd.grad(losses[name].mean(), parameters), strict=True
            ):
                torch.testing.assert_close(parameter.grad, base * gradient)


def test_the_total_is_that_of_the_base_weights(net):
    balancer = Balancer(NAMES, "uncertainty", base={"b": 0.3})
    step = through_fork(net, balancer, batches(1)[0])
    means = {name: float(loss.detach().mean()) for name, loss in step.losses.items()}
    assert float(step.total.detach()) == pytest.approx(means["a"] + 0.3 * means["b"] + means["c"], rel=1e-6)


@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "uncertainty"])
def test_base_weights_and_groups_mean_what_they_mean_elsewhere(net, weighting):
    options = {"base": {"a": 0.5, "b": 0.3, "pair": 2.0}, "groups": {"pair": ["a", "c"]}}
    forked, plain = Balancer(NAMES, weighting, **options), Balancer(NAMES, weighting, **options)
    for data in batches(3):
        check_step(net, forked, plain, data)


def test_a_base_weight_of_zero_leaves_a_loss_out(net):
    balancer = Balancer(NAMES, "mgda", base={"b": 0.0})
    step = through_fork(net, balancer, batches(1)[0])
    step.total.backward()
    assert balancer.weights["b"] == 0.0
    assert step.features.grad.isfinite().all()
    assert balancer.weights["a"] + balancer.weights["c"] == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("weighting", ["gradnorm", "imtl_g", "uncertainty"])
def test_a_base_weight_of_zero_hides_a_loss_from_the_weighting(net, weighting):
    """The gradient that comes to its copy is 0, and says nothing of the loss."""
    balancer, without = Balancer(NAMES, weighting, base={"b": 0.0}), Balancer("ac", weighting)
    for data in batches(4):
        through_fork(net, balancer, data).total.backward()
        fork = without.fork(net["trunk"](data))
        without(
            {name: losses_of(net, {**dict.fromkeys(NAMES, fork.features), **fork})[name] for name in "ac"}, fork
        ).backward()
        assert balancer.player.unbalanced.tolist() == [False, True, False]
    assert [balancer.weights[name] for name in "ac"] == pytest.approx([without.weights[name] for name in "ac"])


def test_losses_of_a_group_may_share_a_head(net):
    balancer = Balancer(["a", "a_too", "b"], "mgda", groups={"both": ["a", "a_too"]})
    data = batches(1)[0]
    features = net["trunk"](data)
    features.retain_grad()
    fork = balancer.fork(features)
    out = net["a"](fork["a"])
    balancer(
        {"a": out.square().mean(), "a_too": out.abs().mean(), "b": net["b"](fork["b"]).square().mean()}, fork
    ).backward()
    again = net["trunk"](data)
    out = net["a"](again)
    w = balancer.weights
    weighted = w["a"] * out.square().mean() + w["a_too"] * out.abs().mean() + w["b"] * net["b"](again).square().mean()
    assert w["a"] == w["a_too"]
    torch.testing.assert_close(features.grad, torch.autograd.grad(weighted, again)[0])


def test_a_group_comes_through_the_fork_as_a_whole(net):
    balancer = Balancer(["a", "kl", "b"], "mgda", groups={"both": ["a", "kl"]})
    fork = balancer.fork(net["trunk"](batches(1)[0]))
    losses = {"a": fork["a"].sum(), "kl": net["trunk"].weight.square().sum(), "b": fork["b"].sum()}
    with pytest.raises(SignalError, match="'kl' of group 'both' does not. Take it out of the group"):
        balancer(losses, anchor=fork)


@pytest.mark.parametrize("scale", [1024.0, 2.0**-10])
@pytest.mark.parametrize("weighting", ["gradnorm", "mgda", "graddrop"])
def test_a_scaled_total_gives_scaled_gradients_and_the_same_state(net, weighting, scale):
    one, other = Balancer(NAMES, weighting), Balancer(NAMES, weighting)
    for data in batches(3):
        plain, scaled = through_fork(net, one, data), through_fork(net, other, data)
        plain.total.backward()
        (scale * scaled.total).backward()
        assert torch.equal(scaled.features.grad, scale * plain.features.grad)
    for name, value in state_of(one).items():
        assert torch.equal(state_of(other)[name], value), name


@pytest.mark.parametrize("weighting", ["pcgrad", "graddrop"])
def test_a_total_times_zero_has_gradients_of_zero(net, weighting):
    step = through_fork(net, Balancer(NAMES, weighting), batches(1)[0])
    (0.0 * step.total).backward()
    assert torch.equal(step.features.grad, torch.zeros_like(step.features))


def test_every_n_measures_now_and_then(net, tmp_path):
    wrapped = {"name": "mgda", "wrap": {"every_n": {"n": 2}}}
    forked = Balancer(NAMES, wrapped, log_dir=tmp_path, record_every=1)
    plain = Balancer(NAMES, wrapped)
    for data in batches(4):
        check_step(net, forked, plain, data, rel=1e-5)
    forked.close()


def test_weights_and_record_hold_what_the_features_got(net, tmp_path):
    balancer = Balancer(NAMES, "pcgrad", log_dir=tmp_path, record_every=1)
    applied = []
    for data in batches(3):
        before = balancer.weights
        total = through_fork(net, balancer, data).total
        assert balancer.weights == before
        total.backward()
        applied.append(balancer.weights)
    balancer.close()
    assert len({tuple(weights.values()) for weights in applied}) == 3
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{n: float(row[f"loss_weight/{n}"]) for n in NAMES} for row in rows] == [pytest.approx(w) for w in applied]
    norms = {n: float(g.norm()) for n, g in gradients_apart(net, batches(3)[2]).items()}
    assert {n: float(rows[2][f"grad_norm/{n}"]) for n in NAMES} == pytest.approx(norms, rel=1e-4)
