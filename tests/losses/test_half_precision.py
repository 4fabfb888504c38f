"""Losses of predictions in half precision, at the size of real images."""

import pytest
import torch
from torch.nn import functional

from autoloss.core.registry.lookup import registry
from autoloss.losses.dice import Dice
from autoloss.losses.jaccard import Jaccard
from autoloss.losses.lovasz import Lovasz
from autoloss.losses.perceptual import Perceptual
from autoloss.losses.tversky import Tversky
from tests.losses.test_conformance import APART, NEEDS

HALVES = (torch.float16, torch.bfloat16)
SIDE = 512


def binary(source):
    return 2 * torch.randn(1, 1, SIDE, SIDE, generator=source) + 1, torch.rand(1, 1, SIDE, SIDE, generator=source) < 0.6


def pixels(source):
    return torch.randn(1, 3, SIDE, SIDE, generator=source), torch.randint(3, (1, SIDE, SIDE), generator=source)


def numbers(source):
    return torch.randn(1, 1, SIDE, SIDE, generator=source), torch.randn(1, 1, SIDE, SIDE, generator=source)


def mixtures(source):
    logits, target = torch.randn(2, 1, 3, SIDE, SIDE, generator=source)
    return logits, target.softmax(1)


def chances(source):
    logits, target = binary(source)
    return logits.sigmoid().clamp(0.05, 0.95), target


IMAGES = {
    "binary": binary,
    "pixels": pixels,
    "numbers": numbers,
    "images": numbers,
    "game": numbers,
    "mixtures": mixtures,
    "chances": chances,
    "counts": lambda source: (numbers(source)[0], torch.poisson(torch.rand(1, 1, SIDE, SIDE, generator=source) * 4)),
    "normal": lambda source: (torch.randn(1, 2, SIDE, SIDE, generator=source), numbers(source)[1]),
}
CASES = [
    (name, kind)
    for name in registry.names("loss")
    if name not in APART
    for kind in registry.build("loss", name, **NEEDS.get(name, {})).takes
    if kind in IMAGES
]


def check(loss, prediction, target, half, autocast):
    """The value is that of float64, and the gradient is that of float64 to the rounding of its dtype."""
    prediction = prediction.to(half).requires_grad_()
    exact = prediction.detach().double().requires_grad_()
    with torch.autocast("cpu", dtype=half, enabled=autocast):
        value = loss(prediction, target)
    wanted = loss(exact, target.double() if target.is_floating_point() else target)
    torch.testing.assert_close(value.double(), wanted, rtol=1e-4, atol=1e-5)
    # Times the pixels, as a gradient scaler would do: float16 holds no number below 6e-8.
    (found,) = torch.autograd.grad(value.sum() * SIDE**2, prediction)
    (right,) = torch.autograd.grad(wanted.sum() * SIDE**2, exact)
    assert (found.double() - right).norm() <= 0.02 * right.norm()


@pytest.mark.parametrize("target", [torch.int64, torch.bool, torch.float32])
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("loss", [Dice(), Tversky(), Jaccard(), Lovasz()], ids=lambda loss: type(loss).__name__)
def test_overlap_of_large_masks(loss, half, target):
    logits, mask = binary(torch.Generator().manual_seed(0))
    check(loss, logits, mask.to(target), half, autocast=True)


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize(("name", "kind"), CASES)
def test_every_loss_of_a_large_image(name, kind, half, autocast):
    loss = registry.build("loss", name, **NEEDS.get(name, {}))
    check(loss, *IMAGES[kind](torch.Generator().manual_seed(0)), half, autocast)


def test_a_perceptual_network_may_be_in_half_precision():
    network = torch.nn.Conv2d(1, 2, 3).bfloat16()
    image, other = torch.rand(2, 2, 1, 8, 8)
    found = Perceptual(network)(image.bfloat16(), other.bfloat16())
    assert found.dtype == torch.float32
    activations = [network(x.bfloat16()).float() for x in (image, other)]
    torch.testing.assert_close(found, functional.l1_loss(*activations, reduction="none").flatten(1).mean(1))
