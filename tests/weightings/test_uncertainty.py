"""Uncertainty weighting: stationary points, and the same steps as in the model's own Adam."""

import math

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import ConfigError
from autoloss.weightings.uncertainty import Uncertainty


@pytest.mark.parametrize(
    ("variant", "optimum"), [("gaussian", lambda v: v), ("softmax", lambda v: 2 * v), ("laplace", lambda v: v**2)]
)
def test_the_stationary_point(signals_of, variant, optimum):
    values = torch.tensor([0.3, 2.7])
    weighting = Uncertainty(variant, lr=0.05).bind(["a", "b"])
    for _ in range(3000):
        weighting.update(signals_of(values))
    assert weighting.log_variance.exp().tolist() == pytest.approx([optimum(v) for v in (0.3, 2.7)], rel=1e-3)


def test_learned_here_it_equals_log_variances_in_the_models_own_adam():
    torch.manual_seed(0)
    start = torch.randn(4, 3)
    data = torch.randn(200, 5, 4)

    def losses(weight, x):
        out = x @ weight
        return {"a": out[:, 0].square().mean(), "b": 100 * (out[:, 1] - 1).square().mean()}

    ours = torch.nn.Parameter(start.clone())
    balancer, optimizer = Balancer(["a", "b"], {"name": "uncertainty", "lr": 1e-2}), torch.optim.Adam([ours], lr=1e-2)
    theirs, s = torch.nn.Parameter(start.clone()), torch.nn.Parameter(torch.zeros(2))
    joint = torch.optim.Adam([theirs, s], lr=1e-2)
    for x in data:
        optimizer.zero_grad()
        balancer(losses(ours, x)).backward()
        optimizer.step()
        joint.zero_grad()
        stacked = torch.stack(list(losses(theirs, x).values()))
        (0.5 * torch.exp(-s) * stacked + 0.5 * s).sum().backward()
        joint.step()
    torch.testing.assert_close(balancer.player.weighting.log_variance, s.detach(), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_the_variant_may_be_given_by_loss(signals_of):
    weighting = Uncertainty({"b": "softmax"}).bind(["a", "b"])
    assert weighting(signals_of(torch.ones(2))).tolist() == [0.5, 1.0]
    with pytest.raises(ConfigError, match="there is no loss 'c'"):
        Uncertainty({"c": "softmax"}).bind(["a", "b"])
    with pytest.raises(ConfigError, match="one of gaussian, softmax, laplace"):
        Uncertainty("student")
    with pytest.raises(ConfigError, match="lr=0"):
        Uncertainty(lr=0)


def test_the_weight_is_the_derivative_of_the_objective(signals_of):
    for variant, (a, b, _) in {"gaussian": (0.5, 1, 0.5), "laplace": (1, 0.5, 0.5)}.items():
        weighting = Uncertainty(variant, start=0.4).bind(["a"])
        assert float(weighting(signals_of(torch.ones(1)))) == pytest.approx(a * math.exp(-b * 0.4))


@pytest.mark.parametrize("variant", ["gaussian", "softmax", "laplace"])
def test_weights_end_at_the_bounds_that_the_documents_name(signals_of, variant):
    """From 1e-20 to 1e20, whatever the factor of the log-variance is in the exponent."""
    weighting = Uncertainty(variant, lr=10.0).bind(["zero", "huge"])
    for _ in range(60):
        weighting.update(signals_of(torch.tensor([0.0, 3e38])))
    largest = math.exp(46.0) * (0.5 if variant == "gaussian" else 1.0)
    smallest = math.exp(-46.0) * (0.5 if variant == "gaussian" else 1.0)
    assert weighting(signals_of(torch.ones(2))).tolist() == pytest.approx([largest, smallest], rel=1e-4)
    bound = 92.0 if variant == "laplace" else 46.0
    assert weighting.log_variance.tolist() == pytest.approx([-bound, bound])
