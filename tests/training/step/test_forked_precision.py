"""The precision in which gradients meet at a fork, and what overflows there."""

import pytest
import torch

from autoloss import Balancer
from tests.training.step.forks import NAMES, batches, losses_of, state_of, through_fork


def test_autocast_is_off_where_gradients_meet(net):
    forked, plain = Balancer(NAMES, "pcgrad"), Balancer(NAMES, "pcgrad")
    for data in batches(3):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            step = through_fork(net, forked, data)
            assert step.features.dtype == torch.bfloat16
            step.total.backward()
            features = net["trunk"](data)
            plain(losses_of(net, dict.fromkeys(NAMES, features)), anchor=features)
        assert step.features.grad.dtype == torch.bfloat16
        assert max(forked.weights.values()) > 1.01
        assert forked.weights == pytest.approx(plain.weights, rel=1e-4)


def test_bfloat16_gradients_are_added_up_in_float32(net):
    """1 and 127 of 1/256: one after the other in bfloat16 they would stay 1."""
    balancer = Balancer([str(k) for k in range(128)], "equal")
    leaf = torch.ones(1, dtype=torch.bfloat16, requires_grad=True)
    fork = balancer.fork(leaf)
    balancer({n: (fork[n] * (1.0 if n == "0" else 1 / 256)).float().sum() for n in fork}, anchor=fork).backward()
    assert float(leaf.grad) == pytest.approx(1 + 127 / 256, rel=2**-8)


def test_float64_features_stay_float64():
    balancer = Balancer(["a", "b"], "equal")
    leaf = torch.ones(3, dtype=torch.float64, requires_grad=True)
    fork = balancer.fork(leaf)
    balancer({"a": (fork["a"] / 3).sum(), "b": fork["b"].sum() * 1e-12}, anchor=fork).backward()
    torch.testing.assert_close(leaf.grad, torch.full_like(leaf, 1 / 3 + 1e-12), rtol=1e-15, atol=0)


def test_gradients_that_are_not_finite_reach_the_features_and_not_the_state(net):
    """As a scaler wants it, which then leaves the step out."""
    balancer = Balancer(NAMES, "gradnorm")
    step = through_fork(net, balancer, batches(1)[0])
    before = state_of(balancer)
    (1e38 * step.total * 10).backward()
    assert not step.features.grad.isfinite().all()
    assert torch.equal(state_of(balancer)["weighting.weights"], before["weighting.weights"])
