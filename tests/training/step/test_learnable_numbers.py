"""Which numbers of losses can be learned: each that can be searched and has a derivative."""

import pytest
import torch
from torch.autograd import forward_ad

from autoloss import build
from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.core.space import Interval
from autoloss.probe.shortcuts import Shortcuts
from autoloss.testing.samples import SAMPLES
from autoloss.training.step.loss_numbers import LossNumbers
from tests.training.step.test_loss_numbers import learned, loop, one_step


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"name": "cross_entropy", "ignore_index": "learned"}, "'ignore_index' of loss 'cross_entropy' is none"),
        ({"name": "combined", "losses": ["mse"], "rule": "learned"}, "'rule' of loss 'combined' is 'average'"),
        ({"name": "adaptive_robust", "learn": "learned"}, "'learn' of loss 'adaptive_robust' is False"),
        ({"name": "focal", "gamma": "learned(6,0,5)"}, r"must lie in its range, but it is 6 in \[0, 5\]"),
        ({"name": "focal", "gamma": "learned(2,-1,5)"}, "gamma=-1"),
        ({"name": "focal", "gamma": "learned(2,5,0)"}, r"low < high, but .*\[5, 0\]"),
        (
            {"name": "focal", "gamma": "learned(2,0,5,0)"},
            "rate of a learned number must be above 0 and finite, but it is 0",
        ),
        ({"name": "focal", "gamma": "learned(a)"}, r"but 'gamma' of loss 'focal' is 'learned\(a\)'"),
        ({"name": "focal", "alpha": "learned"}, "must have a range, but none is known for 'alpha' of loss 'focal'"),
        ({"name": "logit_adjusted", "offsets": "learned"}, "must be a list"),
        ({"name": "logit_adjusted", "offsets": ["learned"]}, "must have a start"),
    ],
)
def test_what_cannot_be_learned_is_an_error_with_its_name(node, message):
    with pytest.raises(ConfigError, match=message):
        build("loss", node)


def test_a_number_without_a_derivative_is_an_error_with_its_name():
    balancer, loss, net, optimizer = loop("learned(1,0,9)", name="focal", key="gamma")
    balancer.player.numbers.names[0] = "a.gamma"
    fixed = build("loss", "cross_entropy")
    with pytest.raises(ConfigError, match=r"not with respect to a\.gamma. Set losses.a.gamma to a number"):
        one_step(balancer, lambda z, t: fixed(z, t), net, optimizer)


def test_only_numbers_of_losses_are_learned():
    with pytest.raises(ConfigError, match="must belong to a loss"):
        build("penalty", {"name": "sparsity", "alpha": "learned(1,0,2)"})


def learnable():
    """Each number of each loss that a search draws from an interval."""
    for name in registry.names("loss"):
        component = registry.load("loss", name)
        for key, space in component.search_space.items():
            if isinstance(space, Interval) and hasattr(component, "forward") and set(component.takes) & set(SAMPLES):
                yield name, key


# The gradient of these losses does not change with these numbers, but at some points: they are where the loss bends.
# `tau` counts where there are priors. `triplet` takes no tensor.
STEPS = {("hinge", "margin"), ("cosine", "margin"), ("kl", "free_bits"), ("gaussian_kl", "free_bits")}
STEPS |= {("logit_adjusted", "tau"), ("consistency", "threshold"), ("triplet", "margin")}


@pytest.mark.parametrize(("name", "key"), sorted(set(learnable()) - STEPS))
def test_each_number_that_can_be_searched_can_be_learned(name, key):
    loss = learned("learned", name, key)
    numbers = LossNumbers({"a": loss})
    for make in (one for kind in loss.takes for one in SAMPLES.get(kind, ())):
        torch.manual_seed(0)
        prediction, target = make(8)
        prediction, target = prediction.double(), target.double() if target.is_floating_point() else target
        along, eps = torch.randn_like(prediction), 1e-5

        def slope(value, along=along, prediction=prediction, target=target):
            setattr(loss, key, value)
            with forward_ad.dual_level(), Shortcuts():
                total = loss(forward_ad.make_dual(prediction, along), target).sum()
                return forward_ad.unpack_dual(total).tangent

        at = float(numbers.values)
        leaf = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        (found,) = torch.autograd.grad(slope(leaf), leaf)
        wanted = (
            slope(torch.tensor(at + eps, dtype=torch.float64)) - slope(torch.tensor(at - eps, dtype=torch.float64))
        ) / (2 * eps)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
