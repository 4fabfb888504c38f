"""Traces of neural tangent kernels beside their textbook form, the gradient of each residual."""

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from autoloss import Balancer
from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.table import Entry, LossTable
from autoloss.core.terms import Terms
from autoloss.probe.anchor import locate
from autoloss.probe.kernels import kernel_traces

DRAWS = 400


@pytest.fixture
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()


def residuals(network: nn.Module) -> dict[str, Tensor]:
    points = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return {"residual": 3 * network(points)[:, 0] + 1, "boundary": network(points[:4] + 1)[:, 0]}


def exact(network: nn.Module, residual: Tensor) -> Tensor:
    """The mean of the squared norms of the gradients, one by one."""
    rows = [torch.autograd.grad(one, list(network.parameters()), retain_graph=True) for one in residual]
    return torch.stack([sum(part.square().sum() for part in row) for row in rows]).mean()


def estimated(network: nn.Module, entries: dict, terms: Terms | None = None) -> Tensor:
    table = LossTable(entries, list(network.parameters()))
    terms = terms or Terms(list(entries))
    losses = table.reduced(terms.names)
    point = locate(table.anchor, terms.units, "ntk")
    draws = [kernel_traces(table, losses, terms, point, Clock(step, 0, 0.0)) for step in range(DRAWS)]
    return torch.stack(draws).mean(0).double()


def test_the_estimate_has_the_trace_as_its_mean(network):
    found = residuals(network)
    expected = torch.stack([exact(network, one) for one in found.values()]).detach()
    assert_close(estimated(network, {name: one.square() for name, one in found.items()}), expected, rtol=0.1, atol=0)


def test_masked_samples_and_residuals_of_zero_do_not_count(network):
    one = residuals(network)["residual"]
    mask = torch.tensor([True, False, True, True, False, True])
    expected = exact(network, one[mask]).detach()
    assert_close(estimated(network, {"a": Entry(one.square(), mask)})[0], expected, rtol=0.1, atol=0)
    zero = torch.cat([one[mask], 0 * one[:1]]).square()
    assert_close(estimated(network, {"a": zero})[0], expected * 4 / 5, rtol=0.1, atol=0)


def test_a_group_has_the_traces_of_its_losses_times_their_base_weights(network):
    found = residuals(network)
    terms = Terms(list(found), {"boundary": 5.0}, {"both": list(found)})
    expected = exact(network, found["residual"]) + 5 * exact(network, found["boundary"])
    both = estimated(network, {name: one.square() for name, one in found.items()}, terms)
    assert_close(both[0], expected.detach(), rtol=0.1, atol=0)


def test_one_sample_has_no_spread(network):
    one = residuals(network)["residual"][:1]
    table = LossTable({"a": one.square()}, list(network.parameters()))
    terms = Terms(["a"])
    point = locate(table.anchor, terms.units, "ntk")
    for step in range(3):
        trace = kernel_traces(table, table.reduced(["a"]), terms, point, Clock(step, 0, 0.0))
        assert_close(trace[0].double(), exact(network, one).detach())


def test_a_probe_draws_no_random_number_of_the_training(network):
    before = torch.get_rng_state()
    balancer = Balancer(["residual", "boundary"], "ntk")
    balancer({k: v.square() for k, v in residuals(network).items()}, anchor=list(network.parameters()))
    assert torch.equal(torch.get_rng_state(), before)


def test_at_features_there_is_no_chance(network):
    features = torch.randn(4, 2, dtype=torch.float64, requires_grad=True)
    one = network(features)[:, 0]
    (slopes,) = torch.autograd.grad(one.sum(), features, retain_graph=True)
    table, terms = LossTable({"a": one.square()}, features), Terms(["a"])
    trace = kernel_traces(table, table.reduced(["a"]), terms, locate(features, ["a"], "ntk"), Clock(5, 0, 0.0))
    assert_close(trace[0].double(), slopes.square().sum(1).mean(), rtol=1e-5, atol=0)


def test_a_fork_measures_no_kernels():
    features = torch.randn(4, 3, requires_grad=True)
    balancer = Balancer("ab", "ntk")
    fork = balancer.fork(features)
    with pytest.raises(SignalError, match="must be parameters or features, but it is a fork"):
        balancer({name: fork[name].square().mean(1) for name in "ab"}, anchor=fork).backward()


def test_a_loss_that_is_one_number_has_no_kernel(network):
    losses = {"residual": residuals(network)["residual"].square().mean()}
    with pytest.raises(ConfigError, match="'residual' is one number"):
        Balancer(["residual"], "ntk")(losses, anchor=list(network.parameters()))
