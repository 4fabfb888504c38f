"""What the probe measures is what the textbook says, and it disturbs nothing."""

import pytest
import torch
from torch import nn

from autoloss.core.errors import SignalError
from autoloss.core.need import Need
from autoloss.probe import measure
from autoloss.probe.anchor import locate

BOTH = Need.GRAM | Need.STATS


@pytest.fixture
def setup():
    torch.manual_seed(0)
    trunk, heads = nn.Linear(5, 4), [nn.Linear(4, 3) for _ in range(3)]
    features = trunk(torch.randn(6, 5))
    losses = [head(features).square().mean() * 10**k for k, head in enumerate(heads)]
    return trunk, features, losses


def rows(losses, tensors):
    return torch.stack(
        [torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, tensors, retain_graph=True)]) for loss in losses]
    )


@pytest.mark.parametrize("kind", ["features", "parameters", "two"])
def test_gram_is_the_jacobian_times_its_transpose(setup, kind):
    trunk, features, losses = setup
    anchor = {"features": features, "parameters": trunk.weight, "two": list(trunk.parameters())}[kind]
    found = measure(losses, locate(anchor, "abc", "x"), BOTH)
    jacobian = rows(losses, [anchor] if isinstance(anchor, torch.Tensor) else anchor)
    assert torch.allclose(found.gram, jacobian @ jacobian.T, rtol=1e-5)
    assert torch.allclose(found.stats.largest, jacobian.abs().amax(1))
    assert torch.allclose(found.stats.mean, jacobian.abs().mean(1))
    assert torch.allclose(found.norms(), jacobian.norm(dim=1))


def test_item_norm_is_the_mean_over_samples(setup):
    _, features, losses = setup
    found = measure(losses, locate(features, "abc", "x"), Need.STATS)
    textbook = rows(losses, [features]).reshape(3, 6, 4).norm(dim=2).mean(1)
    assert torch.allclose(found.stats.item_norm, textbook)
    assert found.gram is None


def test_a_loss_that_does_not_reach_the_anchor_is_reported_and_not_a_gradient_of_zero(setup):
    _, features, losses = setup
    lonely = nn.Linear(1, 1)(torch.ones(1, 1)).sum()
    found = measure([losses[0], lonely, None], locate(features, "abc", "x"), Need.GRAM)
    assert found.reached.tolist() == [True, False, False]


def test_no_loss_at_the_anchor_is_an_error(setup):
    trunk, features, losses = setup
    other = trunk(torch.randn(6, 5))
    with pytest.raises(SignalError, match="must be reached by at least one loss"):
        measure(losses, locate(other, "abc", "x"), Need.GRAM)


def test_each_loss_may_have_its_own_anchor(setup):
    trunk, features, losses = setup
    anchor = {"a": features, "b": trunk.weight}
    with pytest.raises(SignalError, match="mixes both"):
        locate(anchor, "abc", "x")
    point = locate({"a": trunk.weight, "b": trunk.bias}, "abc", "x")
    found = measure(losses, point, Need.GRAM)
    assert found.reached.tolist() == [True, True, False]
    assert float(found.gram[0, 1]) == 0.0
    assert float(found.gram[1, 1]) == pytest.approx(float(rows(losses, [trunk.bias])[1].square().sum()), rel=1e-5)


def test_probing_leaves_gradients_graph_and_random_state_alone(setup):
    trunk, features, losses = setup
    state = torch.get_rng_state()
    measure(losses, locate(features, "abc", "x"), BOTH)
    assert trunk.weight.grad is None
    assert torch.equal(state, torch.get_rng_state())
    sum(losses).backward()
    assert trunk.weight.grad is not None


def test_the_loss_scale_cancels_and_saves_what_float16_would_lose():
    features = torch.ones(4, 2, dtype=torch.float16, requires_grad=True) * 1
    loss = (features * 1e-4).sum().float() * 1e-4
    point = locate(features, "a", "x")
    plain = measure([loss], point, Need.GRAM).norms()
    scaled = measure([loss], point, Need.GRAM, scale=torch.tensor(2.0**12)).norms()
    exact = 1e-8 * 8**0.5
    assert abs(float(scaled) / exact - 1) < 0.01
    assert abs(float(plain) / exact - 1) > 0.5


def test_autocast_does_not_touch_the_gram(setup):
    _, features, losses = setup
    outside = measure(losses, locate(features, "abc", "x"), Need.GRAM).gram
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = measure(losses, locate(features, "abc", "x"), Need.GRAM).gram
    assert torch.equal(outside, inside)


def test_mistakes_about_the_anchor():
    with pytest.raises(
        SignalError, match=r"Weighting 'mgda' needs gradients at an anchor, but losses\(\) returned none"
    ):
        locate(None, "a", "mgda")
    with pytest.raises(SignalError, match="must carry gradients"):
        locate(torch.ones(3), "a", "x")
