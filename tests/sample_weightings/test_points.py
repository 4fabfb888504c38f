"""Rules for the points of a differential equation: textbook forms, fixed points, and what they must refuse."""

import math

import pytest
import torch

from autoloss import Balancer, Samples
from autoloss.core.errors import AutolossError, ConfigError
from autoloss.sample_weightings.brdr import Brdr
from autoloss.sample_weightings.causal import Causal
from autoloss.sample_weightings.rba import Rba
from autoloss.sample_weightings.self_adaptive import SelfAdaptive


def batch(residuals, index=None, step=0, present=None, **keys) -> Samples:
    losses = torch.as_tensor(residuals).square()
    rows = torch.arange(len(losses)) if index is None else torch.tensor(index)
    here = torch.ones_like(rows, dtype=torch.bool) if present is None else torch.tensor(present)
    columns = {name: torch.as_tensor(column) for name, column in keys.items()}
    return Samples("a", losses, here, step, known_index=rows, keys=columns)


def follow(rule, residuals_of, steps, size):
    """Weights after ``steps`` of full batches."""
    rule.bind(size)
    for t in range(steps):
        rule.update(batch(residuals_of(t), step=t))
    return rule(batch(residuals_of(steps), step=steps))


# Residual-based attention


def test_rba_is_its_recursion():
    residuals = torch.rand(20, 5, generator=torch.Generator().manual_seed(0))
    attention = torch.zeros(5)
    rule = Rba(gamma=0.9, eta=0.1).bind(5)
    for t, r in enumerate(residuals):
        attention = 0.9 * attention + 0.1 * r / r.max()
        torch.testing.assert_close(rule(batch(r, step=t)), attention**2)
        rule.update(batch(r, step=t))


def test_rba_of_steady_residuals_tends_to_their_shares_of_the_bound():
    r = torch.tensor([1.0, 4.0, 0.0, 2.0])
    found = follow(Rba(gamma=0.9, eta=0.2), lambda t: r, 300, 4)
    torch.testing.assert_close(found, (0.2 / 0.1 * r / 4) ** 2)


def test_the_exponential_potential_sharpens_with_time_and_keeps_the_largest_at_1():
    r = torch.tensor([1.0, 0.5, 0.0])
    rule = Rba(gamma=0.0, eta=1.0, potential="exponential").bind(3)
    for step in (0, 10, 1000):
        expected = torch.exp((r - 1) * math.log(step + 2))
        torch.testing.assert_close(rule(batch(r, step=step)).sqrt(), expected)
    blunt = Rba(gamma=0.0, eta=1.0, potential="exponential", sharpness=1e6).bind(3)
    torch.testing.assert_close(blunt(batch(r, step=1000)), torch.ones(3), rtol=1e-4, atol=0)


def test_a_batch_moves_its_own_points_alone_and_a_masked_point_not():
    for rule in (Rba(start=0.5), SelfAdaptive(), Brdr(smoothing=0.5)):
        rule.bind(6)
        before = {name: buffer.clone() for name, buffer in rule.named_buffers()}
        rule.update(batch([1.0, 2.0, 3.0], index=[4, 1, 0], present=[True, True, False], step=3))
        for name, buffer in rule.named_buffers():
            moved = (buffer != before[name]).nonzero().flatten().tolist()
            assert set(moved) <= {1, 4}, (rule.title(), name)
        assert any(not torch.equal(buffer, before[name]) for name, buffer in rule.named_buffers())


def test_a_point_that_a_batch_holds_twice_counts_once():
    rule = Rba(gamma=0.0, eta=1.0).bind(3)
    rule.update(batch([2.0, 2.0, 4.0], index=[1, 1, 2]))
    torch.testing.assert_close(rule.attention, torch.tensor([0.0, 0.5, 1.0]))


def test_what_forward_keeps_is_used_by_the_update_after_it_and_never_again():
    samples, other = batch([1.0, 2.0]), batch([1.0, 2.0])
    kept, plain = Rba().bind(2), Rba().bind(2)
    for _ in range(3):
        first = kept(samples)
        kept.update(samples)
        plain.update(other)
        assert torch.equal(kept.attention, plain.attention)
        assert not torch.equal(kept(samples), first)
        kept.update(samples)
        plain.update(other)
        assert torch.equal(kept.attention, plain.attention)


# Self-adaptive weights


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_self_adaptive_weights_rise_where_residuals_stay_whatever_trains_the_network(optimizer):
    """One point can be fitted and the other cannot: the weight of the latter keeps rising, none falls."""
    parameter = torch.zeros(1, requires_grad=True)
    trained = optimizer([parameter], lr=0.01)
    balancer = Balancer(["a"], "equal", sample_weighting={"name": "self_adaptive", "lr": 0.05}, samples=2)
    history = []
    for _ in range(300):
        residual = torch.cat([parameter - 1, 0 * parameter + 1])
        trained.zero_grad()
        balancer({"a": residual.square()}, index=torch.arange(2)).backward()
        trained.step()
        history.append(balancer.player.samples.rules[0].multiplier.clone())
    lambdas = torch.stack(history)
    assert (lambdas.diff(dim=0) >= -1e-6).all()
    assert lambdas[-1, 1] > lambdas[-1, 0]
    assert lambdas[-1, 1] > 10


def test_self_adaptive_is_adam_climbing_the_weighted_loss():
    losses = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    free = torch.nn.Parameter(torch.ones(4))
    theirs = torch.optim.Adam([free], lr=0.02, maximize=True)
    rule = SelfAdaptive(lr=0.02).bind(4)
    for one in losses:
        theirs.zero_grad()
        (free**2 * one).sum().backward()
        theirs.step()
        rule.update(batch(one.sqrt()))
    torch.testing.assert_close(rule.multiplier, free.detach(), rtol=1e-5, atol=1e-6)


def test_self_adaptive_has_an_upper_bound():
    rule = SelfAdaptive(lr=10.0, most=5.0, power=3.0)
    assert follow(rule, lambda t: torch.ones(2), 20, 2).tolist() == [125.0, 125.0]


# Balanced residual decay rate


def test_brdr_keeps_weights_of_1_for_residuals_that_decay_alike():
    found = follow(Brdr(0.9, 0.5), lambda t: 0.99**t * torch.tensor([1.0, 100.0, 1e-3]), 200, 3)
    torch.testing.assert_close(found, torch.ones(3), rtol=1e-4, atol=0)


def test_brdr_favours_slow_points_by_their_decay_rates():
    """For r = k^t and a long memory, c = r^2 / sqrt(mean r^4) has the closed form of a geometric sum."""
    decay, k = 0.9, torch.tensor([0.995, 0.98])
    found = follow(Brdr(decay, 0.5), lambda t: k**t, 300, 2)
    c = ((1 - decay / k**4) / (1 - decay)).sqrt()  # mean r^4 = r^4 (1 - b) / (1 - b / k^4)
    torch.testing.assert_close(found, c / c.mean(), rtol=1e-3, atol=0)
    assert found[0] > found[1]


def test_brdr_forgets_by_the_steps_that_have_passed():
    """A point that is seen every fourth step does as if it had been seen four times."""
    often, seldom = Brdr(0.5, 0.5).bind(2), Brdr(0.5**0.25, 0.5**0.25).bind(2)
    for visit in range(5):
        r = torch.tensor([1.0, 2.0 - 0.3 * visit])
        often.update(batch(r, step=visit))
        seldom.update(batch(r, step=4 * visit + 3))
    torch.testing.assert_close(often.weights, seldom.weights, rtol=1e-5, atol=0)


# Causal weights


def test_causal_weights_are_the_exponentials_of_what_comes_before():
    time = torch.tensor([0.1, 0.3, 0.3, 0.6, 0.9])
    r = torch.tensor([1.0, 2.0, 4.0, 3.0, 5.0])
    rule = Causal(slabs=4, tolerances=[0.1]).bind()
    means = torch.tensor([1.0, (4 + 16) / 2, 9.0])  # of the three slabs before the last
    before = torch.cat([torch.zeros(1), means.cumsum(0)])
    torch.testing.assert_close(rule(batch(r, time=time)), torch.exp(-0.1 * before)[[0, 1, 1, 2, 3]])


def test_causal_opens_one_slab_after_another_and_raises_its_tolerance():
    time = torch.tensor([0.1, 0.4, 0.6, 0.9])
    rule = Causal(slabs=4, tolerances=[1.0, 10.0, 100.0], threshold=0.9).bind()
    stages, last = [], []
    for t in range(120):
        r = torch.full((4,), 3 * 0.9**t)
        rule.update(batch(r, time=time))
        stages.append(int(rule.stage))
        last.append(float(rule(batch(r, time=time))[-1]))
    assert last[0] < 1e-6
    assert stages[0] == 0
    assert stages[-1] == 2
    assert stages == sorted(stages)
    assert last[-1] > 0.9


def test_causal_remembers_a_slab_that_a_batch_leaves_out():
    rule = Causal(slabs=2, tolerances=[1.0]).bind()
    rule.update(batch([2.0, 1.0], time=[0.2, 0.7]))
    found = rule(batch([1.0], time=[0.7]))
    assert found.tolist() == pytest.approx([math.exp(-4.0)])


def test_causal_takes_any_order_of_points():
    time = torch.rand(40, generator=torch.Generator().manual_seed(0))
    r = torch.rand(40, generator=torch.Generator().manual_seed(1))
    order = torch.randperm(40, generator=torch.Generator().manual_seed(2))
    rule = Causal().bind()
    torch.testing.assert_close(rule(batch(r, time=time))[order], rule(batch(r[order], time=time[order])))


def test_a_time_that_is_missing_or_outside_is_named():
    balancer = Balancer(["a"], "equal", sample_weighting="causal")
    with pytest.raises(AutolossError, match="No key of the data is called 'time'"):
        balancer({"a": torch.ones(2)})
    for wrong in (1.5, -0.5, math.nan):
        with pytest.raises(ConfigError, match="'time' must lie between `low`, 0, and `high`, 1, but one is"):
            balancer({"a": torch.ones(2)}, keys={"time": torch.tensor([0.5, wrong])})


@pytest.mark.parametrize("rule", ["rba", "self_adaptive", "brdr"])
def test_points_without_an_index_are_refused(rule):
    balancer = Balancer(["a"], "equal", sample_weighting=rule, samples=4)
    with pytest.raises(AutolossError, match=f"{rule!r} needs to know which samples a batch holds"):
        balancer({"a": torch.ones(2)})
