"""Weights by the neural tangent kernel."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from autoloss import Balancer
from autoloss.core.errors import ConfigError
from autoloss.weightings.ntk import Ntk


@pytest.fixture
def seen(signals_of):
    """The weights of a rule that measures ``traces`` at ``step``, which it then learns from."""

    def weights(rule: Ntk, traces: list[float], step: int, present: list[bool] | None = None) -> Tensor:
        kernel = torch.tensor(traces)
        signals = signals_of(torch.ones(len(traces)), gram=kernel.diag(), step=step, present=present)
        signals = replace(signals, measured_kernel=kernel.where(signals.present, 0.0))
        if not rule.names:
            rule.bind(signals.names)
        found = rule(signals)
        rule.update(signals)
        return found

    return weights


def test_residuals_fall_at_one_rate(seen):
    """``w_k t_k`` is the same for all losses."""
    weights = seen(Ntk(), [1.0, 4.0, 10.0], 0)
    assert_close(weights, torch.tensor([5.0, 1.25, 0.5]))


def test_traces_are_smoothed_and_held_between_measurements(seen):
    rule = Ntk(every=10, decay=0.5)
    seen(rule, [1.0, 3.0], 0)
    held = seen(rule, [100.0, 1.0], 1)
    assert_close(held, torch.tensor([2.0, 2 / 3]))
    # The mean with the weights 1 and 2 of the measurements: (1 + 2 * 4) / 3 = 3 and (3 + 2 * 9) / 3 = 7.
    assert_close(seen(rule, [4.0, 9.0], 10), torch.tensor([5 / 3, 5 / 7]))


def test_a_loss_without_a_kernel_or_absent_has_the_weight_one(seen):
    assert_close(seen(Ntk(), [2.0, 0.0, 6.0], 0), torch.tensor([2.0, 1.0, 2 / 3]))
    weights = seen(Ntk(), [2.0, 100.0, 6.0], 0, [True, False, True])
    assert_close(weights[[0, 2]], torch.tensor([2.0, 2 / 3]))


def test_gradient_descent_on_a_linear_model_balances(seen):
    """Two residuals ``s_k p_k - 1`` of scales 1 and 10: with equal weights one falls a hundred times as fast."""
    scales = torch.tensor([1.0, 10.0])

    def fallen(weighting: str) -> Tensor:
        p = torch.nn.Parameter(torch.zeros(2))
        balancer = Balancer("ab", weighting)
        optimizer = torch.optim.SGD([p], lr=0.001)
        for _ in range(20):
            optimizer.zero_grad()
            residuals = scales * p - 1
            balancer({"a": residuals[:1].square(), "b": residuals[1:].square()}, anchor=[p]).backward()
            optimizer.step()
        return -(scales * p.detach() - 1).abs().log()

    equal, ntk = fallen("equal"), fallen("ntk")
    assert equal[1] > 50 * equal[0]
    assert_close(ntk[0], ntk[1], rtol=1e-3, atol=0)


def test_it_measures_at_every_nth_step():
    rule = Ntk(every=3)
    assert [bool(rule.needs_at(step) & ~Ntk.needs_at(rule, 1)) for step in range(4)] == [True, False, False, True]


@pytest.mark.parametrize(("key", "value"), [("every", 0), ("decay", 1.0), ("decay", -0.1)])
def test_parameters_out_of_range(key, value):
    with pytest.raises(ConfigError, match=f"`{key}` must"):
        Ntk(**{key: value})
