"""Which numbers of losses can be learned: each that can be searched and has a derivative."""

import inspect

import pytest
import torch
from torch.autograd import forward_ad
from torch.nn import functional

from autoloss import build
from autoloss.core.errors import ConfigError
from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.registry.lookup import registry
from autoloss.core.space import Interval
from autoloss.probe.shortcuts import Shortcuts
from autoloss.testing.samples import SAMPLES
from autoloss.training.step.loss_numbers import LossNumbers
from tests.training.step.test_loss_numbers import loop, one_step


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


def numbers_of(name):
    """Each real number of a loss, and each list of such numbers: its key and its default."""
    parameters = inspect.signature(registry.load("loss", name)).parameters.values()
    return [(one.name, one.default) for one in parameters if one.annotation in ("float", "Sequence[float]")]


# Numbers without a range of a search, or with a default at which they do nothing.
WRITTEN = {
    ("focal", "alpha"): "learned(0.25,0.05,0.95)",
    ("gaussian_nll", "smallest"): "learned(1,0.1,10)",
    ("least_squares", "fake"): "learned(0,-0.5,0.5)",
    ("least_squares", "real"): "learned(1,0.6,2)",
    ("least_squares", "wanted"): "learned(1,0,2)",
    ("log_loss", "eps"): "learned(0.3,0.1,0.4)",
    ("logit_adjusted", "offsets"): "learned(0,-5,5)",
    ("relative_l2", "eps"): "learned(3,1,9)",
    ("smooth_l2", "eps"): "learned(3,1,9)",
    ("total_variation", "eps"): "learned(0.1,0.01,1)",
}
WITH = {("logit_adjusted", "tau"): {"priors": [1, 2, 3, 4, 5]}, ("total_variation", "eps"): {"isotropic": True}}
NUMBERS = [(name, key, default) for name in registry.names("loss") for key, default in numbers_of(name)]
# Of these a GAN's discriminator has the gradient in its graph already: no look-ahead knows how to do that.
JUDGED = {name for name in registry.names("loss") if "judged" in registry.load("loss", name).takes}
UNLEARNABLE = [(name, key) for name, key, _ in NUMBERS if key in registry.load("loss", name).unlearnable]


def node(name, key, default, count):
    """The loss with the number learned, or with each of a list of ``count``."""
    one = WRITTEN.get((name, key))
    if isinstance(default, float):
        one = one or ("learned" if key in registry.load("loss", name).search_space else f"learned({default},0.01,9)")
        return {"name": name, key: one, **WITH.get((name, key), {})}
    losses = {"losses": ["mse", "mae"]} if name == "combined" else {}
    return {"name": name, key: [one or "learned(1,0.1,10)"] * (2 if losses else count), **losses}


def data(name, key, default):
    """Data that the loss takes, in float64, and the number of its classes."""
    for kind in ("numbers",) if name == "combined" else registry.load("loss", name).takes:
        if kind in ("binary", "chances") and not isinstance(default, float):
            continue  # there are no classes to weigh
        if (name, key, kind) in {("focal", "alpha", "classes"), ("focal", "alpha", "pixels")}:
            continue  # of one logit alone
        if WITH.get((name, key), {}).get("priors") and kind == "pixels":
            continue  # of another number of classes
        for make in SAMPLES[kind]:
            torch.manual_seed(0)
            prediction, target = make(8)
            target = target.double() if target.is_floating_point() else target
            yield prediction.double(), target, prediction.shape[1] if prediction.dim() > 1 else 1


@pytest.mark.parametrize(("name", "key"), UNLEARNABLE)
def test_a_number_that_the_gradient_does_not_change_with_is_an_error_that_says_so(name, key):
    with pytest.raises(ConfigError, match=f"that of {name!r} does not change with {key!r}"):
        build("loss", {"name": name, key: "learned"})


@pytest.mark.parametrize(("name", "key"), UNLEARNABLE)
def test_the_gradient_does_not_change_with_an_unlearnable_number(name, key):
    component = registry.load("loss", name)
    at = component.search_space.get(key, Interval(0.0, 1.0)).high / 2
    for prediction, target, _ in data(name, key, at):
        slopes = []
        for value in (at, at * (1 + 1e-6)):
            leaf = prediction.clone().requires_grad_()
            slopes.append(torch.autograd.grad(component(**{key: value})(leaf, target).sum(), leaf)[0])
        torch.testing.assert_close(*slopes, rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("name", "key", "default"), [one for one in NUMBERS if one[:2] not in UNLEARNABLE and one[0] not in JUDGED]
)
def test_every_other_number_of_every_loss_can_be_learned(name, key, default):
    told = []
    for prediction, target, count in data(name, key, default):
        loss = build("loss", node(name, key, default, count))
        numbers, along, eps = LossNumbers({"a": loss}), torch.randn_like(prediction), 1e-5

        def slope(values, numbers=numbers, loss=loss, along=along, prediction=prediction, target=target):
            numbers.write(values.unbind())
            with forward_ad.dual_level(), Shortcuts():
                found = forward_ad.make_dual(prediction, along)
                total = loss(found, target).sum()
                if isinstance(loss, AdversarialLoss):
                    total = total + loss.discriminator(2 * found, found).sum()
                return forward_ad.unpack_dual(total).tangent

        leaves = numbers.values.clone().requires_grad_()
        (found,) = torch.autograd.grad(slope(leaves), leaves)
        moved = eps * torch.eye(len(leaves), dtype=torch.float64)
        wanted = [(slope(leaves.detach() + one) - slope(leaves.detach() - one)) / (2 * eps) for one in moved]
        torch.testing.assert_close(found, torch.stack(wanted), rtol=1e-3, atol=1e-4)
        told.append(float(found.abs().max()))
    assert max(told) > 1e-3, "nothing would be learned"


@pytest.mark.parametrize("kind", ["classes", "pixels", "mixtures"])
def test_learned_weights_of_classes_are_those_of_torch(kind):
    (make,) = SAMPLES[kind]
    prediction, target = make(8)
    prediction, target = prediction.double(), target.double() if target.is_floating_point() else target
    weights = torch.rand(prediction.shape[1], dtype=torch.float64) + 0.5
    for smoothing in (0.0, 0.2):
        loss = build("loss", {"name": "cross_entropy", "label_smoothing": smoothing})
        loss.class_weights = tuple(weights.unbind())
        expected = functional.cross_entropy(prediction, target, weights, reduction="none", label_smoothing=smoothing)
        torch.testing.assert_close(
            loss(prediction, target), expected.flatten(1).mean(1) if kind == "pixels" else expected
        )
