"""Hypergradients of real steps, against the unrolled step differentiated twice, in float64."""

import copy
import warnings

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.errors import ConfigError, SignalError, UnknownNameError
from autoloss.probe.descent import gradient_of
from autoloss.probe.lookahead import Moment, replayed
from autoloss.probe.optimizer_step import observe_step
from autoloss.probe.slopes import Slopes
from tests.training.step.unrolled import NAMES, OPTIMIZERS, aligned, entries, scalars, setting, unrolled

# What is made of the held-out losses, here in the plainest form.
OBJECTIVES = {"sum": torch.sum, "log": lambda losses: losses.log().sum()}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("which", OPTIMIZERS)
def test_k_hypergradients_equal_the_unrolled_step(which, objective, device):
    net, optimizer = setting(which, device=device)
    base = {"b": 0.5}
    balancer = Balancer(NAMES, {"name": "auto_lambda", "lr": 0.1}, base=base)
    told = aligned(balancer)
    factors = torch.tensor([1.0, 0.5, 1.0], dtype=torch.float64, device=device)
    for step in range(4):
        x, held = torch.randn(16, 4).double().to(device), torch.randn(12, 4).double().to(device)
        before, state = copy.deepcopy(net), copy.deepcopy(optimizer)
        with balancer.lookahead(
            net,
            optimizer,
            train=lambda net, x=x: entries(net, x),
            held_out=lambda net, held=held: entries(net, held),
            primary=["a", "b"],
            objective=objective,
        ):
            optimizer.zero_grad()
            balancer(entries(net, x)).backward()
            weights = balancer.player.last.double()
            optimizer.step()
        expected = unrolled(
            before,
            state,
            lambda net, w, x=x: (torch.stack(scalars(entries(net, x))) * w).sum(),
            lambda net, held=held: OBJECTIVES[objective]((torch.stack(scalars(entries(net, held))) * factors)[:2]),
            weights,
        )
        torch.testing.assert_close(-told[step], expected, rtol=1e-10, atol=1e-14)
    assert balancer.player.weighting.value.abs().max() > 0


@pytest.mark.parametrize("which", ["sgd", "nesterov", "adam", "adamw"])
def test_b_hypergradients_equal_the_unrolled_step(which, device):
    net, optimizer = setting(which, device=device)
    for _ in range(3):
        x, held = torch.randn(16, 4).double().to(device), torch.randn(12, 4).double().to(device)
        weights = torch.rand(16).double().to(device)
        before, state = copy.deepcopy(net), copy.deepcopy(optimizer)
        with observe_step(optimizer) as optimizer_step:
            optimizer.zero_grad()
            (weights * (net(x)[0] - 1).square()).mean().backward()
            optimizer.step()
        moment = Moment.now(x.device)
        with replayed(net, moment, graph=True):
            direction = optimizer_step.jacobian_times(gradient_of(lambda held=held: net(held)[1].square().mean(), net))
            (slopes,) = Slopes(net).along(
                lambda x=x: [(net(x)[0] - 1).square() / 16], optimizer_step.before, direction
            )[1]
        expected = unrolled(
            before,
            state,
            lambda net, w, x=x: (w * (net(x)[0] - 1).square()).mean(),
            lambda net, held=held: net(held)[1].square().mean(),
            weights,
        )
        torch.testing.assert_close(-slopes, expected, rtol=1e-10, atol=1e-14)


def one_step(net, optimizer, balancer, parts, held, objective="log"):
    """One step of the micro-batches ``parts``; the weights of the last."""
    optimizer.zero_grad()
    for i, part in enumerate(parts, 1):
        with balancer.lookahead(
            net,
            optimizer,
            train=lambda net, part=part: entries(net, part),
            held_out=lambda net: entries(net, held),
            objective=objective,
        ):
            (balancer(entries(net, part)) / len(parts)).backward()
            weights = balancer.player.last.double()
            if i == len(parts):
                optimizer.step()
    return weights


def run(weighting, which="adam", accumulate=1, steps=3, dropout=0.5):
    """Parameters, random numbers and buffers after some steps, and what was told."""
    net, optimizer = setting(which, dropout)
    balancer = Balancer(NAMES, weighting, accumulate=accumulate)
    told, draws = aligned(balancer), []
    for _ in range(steps):
        held = torch.randn(12, 4).double()
        one_step(net, optimizer, balancer, torch.randn(16, 4).double().chunk(accumulate), held)
        draws.append(float(torch.rand(())))
    return net, draws, told, balancer


def test_the_first_step_is_that_of_equal_weights_and_nothing_is_disturbed():
    plain, plain_draws, _, _ = run("equal", steps=1)
    net, draws, told, _ = run("auto_lambda", steps=1)
    assert draws == plain_draws
    assert len(told) == 1
    for (name, one), other in zip(net.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(one, other), name


def test_weighting_every_n_steps_looks_ahead_every_n_steps():
    assert len(run({"name": "auto_lambda", "wrap": {"every_n": {"n": 3}}}, steps=7)[2]) == 3


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_accumulated_micro_batches_add_up_to_the_step(objective):
    net, optimizer = setting("adam")
    balancer = Balancer(NAMES, "auto_lambda", accumulate=2)
    told = aligned(balancer)
    for step in range(3):
        parts, held = torch.randn(16, 4).double().chunk(2), torch.randn(12, 4).double()
        before, state = copy.deepcopy(net), copy.deepcopy(optimizer)
        weights = one_step(net, optimizer, balancer, parts, held, objective)
        expected = unrolled(
            before,
            state,
            lambda net, w, parts=parts: sum((torch.stack(scalars(entries(net, part))) * w).sum() / 2 for part in parts),
            lambda net, held=held: OBJECTIVES[objective](torch.stack(scalars(entries(net, held)))),
            weights,
        )
        torch.testing.assert_close(-told[step], expected, rtol=1e-10, atol=1e-14)
    assert balancer.clock.step == 3
    assert balancer.player.weighting.adam.steps.tolist() == [3.0] * 3


def test_an_absent_loss_has_no_part():
    net, optimizer = setting("sgd")
    balancer = Balancer(NAMES, "auto_lambda")
    told = aligned(balancer)
    x = torch.randn(8, 4).double()

    def without(net):
        return {**entries(net, x), "c": None}

    with balancer.lookahead(net, optimizer, train=without, held_out=lambda net: entries(net, x)):
        balancer(without(net)).backward()
        optimizer.step()
    assert told[0][2] == 0
    assert balancer.player.weighting.value[2] == 0
    assert balancer.player.weighting.value[0] != 0


def test_a_step_that_was_not_taken_teaches_nothing():
    net, optimizer = setting("sgd")
    balancer = Balancer(NAMES, "auto_lambda")
    x = torch.randn(8, 4).double()
    with balancer.lookahead(net, optimizer, train=lambda net: entries(net, x), held_out=lambda net: entries(net, x)):
        balancer(entries(net, x)).backward()
    assert balancer.player.weighting.value.tolist() == [0.0] * 3
    assert balancer.clock.step == 1


def step(net, optimizer, train=None, held_out=None, weighting="auto_lambda", wrapped=None, zero=False, primary=()):
    balancer = Balancer(NAMES, weighting)
    x = torch.randn(8, 4).double()
    of = lambda net: entries(net, x)  # noqa: E731
    with balancer.lookahead(wrapped or net, optimizer, train=train or of, held_out=held_out or of, primary=primary):
        balancer(of(net)).backward()
        if optimizer is not None:
            optimizer.step()
            if zero:
                optimizer.zero_grad()


def test_what_cannot_be_looked_ahead_with_is_said_at_once():
    net, optimizer = setting("sgd")
    with pytest.raises(ConfigError, match="'auto_lambda' needs the optimizer and held-out losses, but the look-ahead"):
        step(net, None)
    with pytest.raises(ConfigError, match=r"\(SGD, Adam, AdamW, RMSprop, Adagrad, NAdam\), but this is Adamax"):
        step(net, torch.optim.Adamax(net.parameters()))
    with pytest.raises(ConfigError, match=r"lacks 1 of them, one of shape \[6, 4\]"):
        step(net, torch.optim.SGD([net.trunk[0].weight], 0.1), wrapped=net.heads)
    with pytest.raises(SignalError, match="gradients must still be there"):
        step(net, optimizer, zero=True)
    with pytest.raises(SignalError, match="losses of the step again, but 'a' was"):
        step(net, optimizer, train=lambda net: entries(net, torch.randn(8, 4).double()))
    with pytest.raises(SignalError, match="held-out objective must depend on the network"):
        step(net, optimizer, held_out=lambda net: {"a": torch.ones(())})
    with pytest.raises(ConfigError, match="A held-out batch must have one of the losses b, but it has none"):
        step(net, optimizer, held_out=lambda net: {"a": net(torch.randn(8, 4).double())[0]}, primary=["b"])
    with pytest.raises(UnknownNameError, match="No loss is called 'd'"):
        step(net, optimizer, primary=["d"])
    sharded = copy.deepcopy(net)
    sharded.trunk = type("FSDPSequential", (nn.Sequential,), {})(*net.trunk)
    with pytest.raises(ConfigError, match="called with other parameters, but FSDP shards them"):
        step(sharded, optimizer)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Linear(4, 3).double())
    with pytest.raises(ConfigError, match="called with other parameters, but it holds a RecursiveScriptModule"):
        step(scripted, optimizer)
