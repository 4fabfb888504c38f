"""Fixed weights from the gradients of the first steps."""

import pytest
import torch
from torch.testing import assert_close

from autoloss import Balancer
from autoloss.core.errors import ConfigError
from autoloss.core.need import Need
from autoloss.weightings.autoscale import Autoscale


def explored(rule, signals_of, norms, **more):
    """``rule`` after steps in which the gradients had ``norms`` [T, K]."""
    rule.bind("ab")
    for step, row in enumerate(norms):
        signals = signals_of(torch.ones(2), gram=torch.tensor(row).square().diag(), step=step, **more)
        assert_close(rule(signals), signals.present.float())
        rule.update(signals)
    return rule


def test_weights_are_the_inverse_of_the_geometric_mean_of_the_norms(signals_of):
    rule = explored(Autoscale(steps=2, every=1), signals_of, [[1.0, 2.0], [1.0, 8.0]])
    weights = rule(signals_of(torch.ones(2), step=2))
    assert_close(weights, torch.tensor([1.6, 0.4]))
    rule.update(signals_of(torch.ones(2), gram=torch.eye(2), step=2))
    assert_close(rule(signals_of(torch.ones(2), step=900)), weights)


def test_it_measures_in_the_exploration_alone():
    rule = Autoscale(steps=5, every=2)
    assert [Need.GRAM in rule.needs_at(step) for step in range(8)] == [True, False, True, False, True, *[False] * 3]


def test_a_gradient_that_vanishes_is_bounded_and_one_of_zero_does_not_count(signals_of):
    last = signals_of(torch.ones(2), step=1)
    assert_close(explored(Autoscale(1, 1), signals_of, [[1.0, 1e-9]])(last)[1] / 100, torch.tensor(2 / 101))
    assert_close(explored(Autoscale(1, 1), signals_of, [[3.0, 0.0]])(last), torch.ones(2))


def test_without_an_anchor_it_goes_by_the_losses(signals_of):
    rule = Autoscale(steps=1, every=1).bind("ab")
    rule.update(signals_of([1.0, 3.0], step=0))
    assert_close(rule(signals_of([1.0, 1.0], step=1)), torch.tensor([1.5, 0.5]))


def test_afterwards_the_gradients_are_equally_long():
    """Of two losses that pull with 1 and 10 in each step."""
    p = torch.nn.Parameter(torch.zeros(2))
    balancer = Balancer("ab", {"name": "autoscale", "steps": 3, "every": 1})
    for _ in range(4):
        p.grad = None
        balancer({"a": p[0] + 5, "b": 10 * p[1] + 5}, anchor=[p]).backward()
    assert_close(p.grad[0], p.grad[1])
    assert sum(balancer.weights.values()) == pytest.approx(2)


@pytest.mark.parametrize(("key", "value"), [("steps", 0), ("every", 0), ("widest", 1.0)])
def test_parameters_out_of_range(key, value):
    with pytest.raises(ConfigError, match=f"`{key}` must"):
        Autoscale(**{key: value})
