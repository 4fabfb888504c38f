"""GradNorm by the paper's rule: the fixed points, and no other implementation's sign."""

import pytest
import torch
from torch import nn

from autoloss import Balancer
from autoloss.core.tensors.state import commit
from autoloss.weightings.gradnorm import Gradnorm


def settled(signals_of, alpha, norms, ratios, steps=4000):
    """The weights after `steps` updates at fixed gradient norms and loss ratios."""
    norms = torch.tensor(norms)
    weighting = Gradnorm(alpha=alpha, lr=1e-3).bind(["a", "b"][: len(norms)])
    first = signals_of(torch.ones(len(norms)), gram=torch.outer(norms, norms))
    later = signals_of(torch.tensor(ratios), gram=torch.outer(norms, norms))
    commit(weighting, lambda: weighting.update(first), torch.tensor(True), first.present)
    for _ in range(steps):
        commit(weighting, lambda: weighting.update(later), torch.tensor(True), later.present)
        assert float(weighting(later).sum()) == pytest.approx(len(norms), rel=1e-5)
    return weighting(later)


def test_alpha_0_makes_all_gradient_norms_equal(signals_of):
    weights = settled(signals_of, 0.0, [1.0, 4.0], [1.0, 1.0])
    assert weights.tolist() == pytest.approx([1.6, 0.4], abs=0.01)


def test_alpha_1_gives_the_slower_loss_more(signals_of):
    weights = settled(signals_of, 1.0, [1.0, 1.0], [2.0, 1.0])
    assert weights.tolist() == pytest.approx([4 / 3, 2 / 3], abs=0.01)


@pytest.mark.parametrize(("alpha", "ratio"), [(1.5, 2.674), (2.0, 3.50)])
def test_other_exponents_settle_where_one_target_is_met(signals_of, alpha, ratio):
    weights = settled(signals_of, alpha, [1.0, 1.0], [2.0, 1.0])
    assert float(weights[0] / weights[1]) == pytest.approx(ratio, rel=0.03)


def test_the_derivative_of_a_gradient_norm_in_its_weight_is_the_norm_itself():
    torch.manual_seed(0)
    layer, head = nn.Linear(3, 3), nn.Linear(3, 1)
    weight = torch.tensor(0.7, requires_grad=True)
    loss = head(layer(torch.randn(5, 3))).square().mean()
    (gradient,) = torch.autograd.grad(weight * loss, layer.weight, create_graph=True)
    (derivative,) = torch.autograd.grad(gradient.norm(), weight)
    torch.testing.assert_close(derivative, (gradient.norm() / weight).detach())


def test_the_model_sees_no_trace_of_the_weights_own_loss():
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 4), [nn.Linear(4, 1) for _ in range(2)]
    balancer = Balancer(["a", "b"], "gradnorm")
    for _ in range(3):
        features = trunk(torch.randn(6, 3))
        losses = {n: h(features).square().mean() for n, h in zip("ab", heads, strict=True)}
        total = balancer(losses, anchor=features)
        weights = balancer.weights
        (ours,) = torch.autograd.grad(total, trunk.weight, retain_graph=True)
        (theirs,) = torch.autograd.grad(sum(weights[n] * losses[n] for n in losses), trunk.weight)
        torch.testing.assert_close(ours, theirs)


def test_a_first_loss_of_zero_stays_finite(signals_of):
    weighting = Gradnorm().bind(["a", "b"])
    for values in ([0.0, 1.0], [0.5, 0.5]):
        signals = signals_of(torch.tensor(values), gram=torch.eye(2))
        commit(weighting, lambda s=signals: weighting.update(s), torch.tensor(True), signals.present)
    assert weighting(signals).isfinite().all()
