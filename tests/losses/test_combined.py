"""Several losses of one prediction as one: averages, products, masks, gradients."""

import pytest
import torch

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.losses.combined import Combined
from autoloss.losses.cross_entropy import CrossEntropy
from autoloss.losses.dice import Dice
from autoloss.losses.mae import Mae
from autoloss.losses.mse import Mse
from autoloss.losses.triplet import Triplet
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    PIXELS, MAP = samples.classes(4, 3, 6, 6)
    PREDICTION, TARGET = samples.regression(8, 3)
BOTH = Mse()(PREDICTION, TARGET), Mae()(PREDICTION, TARGET)


def test_an_average() -> None:
    expected = (CrossEntropy()(PIXELS, MAP) + Dice()(PIXELS, MAP)) / 2
    assert torch.allclose(Combined(["cross_entropy", "dice"])(PIXELS, MAP), expected)


def test_a_weighted_average_knows_proportions_only() -> None:
    expected = (3 * BOTH[0] + BOTH[1]) / 4
    assert torch.allclose(Combined(["mse", "mae"], weights=[3, 1])(PREDICTION, TARGET), expected)
    assert torch.allclose(Combined(["mse", "mae"], weights=[30, 10])(PREDICTION, TARGET), expected)
    assert torch.allclose(Combined(["mse", "mae"], weights=[0, 1])(PREDICTION, TARGET), BOTH[1])


def test_a_product_and_its_gradient() -> None:
    assert torch.allclose(Combined(["mse", "mae"], "product")(PREDICTION, TARGET), BOTH[0] * BOTH[1])
    at = TARGET.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Combined(["mse", "mae"], "product")(at, TARGET).sum(), at)
    assert not gradient.any()


def test_parts_may_be_names_parameters_or_losses_and_nest() -> None:
    nested = Combined([{"name": "combined", "losses": ["mse", "mae"]}, Mse(), {"huber": {"delta": 100.0}}])
    expected = ((BOTH[0] + BOTH[1]) / 2 + BOTH[0] + BOTH[0] / 2) / 3
    assert torch.allclose(nested(PREDICTION, TARGET), expected)


def test_parts_clean_masked_targets_each_in_its_own_way() -> None:
    vectors, classes = torch.randn(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    mask = torch.tensor([True, True, True, True, False, False])
    values = Combined(["cross_entropy", "triplet"]).masked(vectors, classes, mask)[mask]
    expected = (CrossEntropy()(vectors[mask], classes[mask]) + Triplet()(vectors[mask], classes[mask])) / 2
    assert torch.allclose(values, expected)


def test_what_it_takes_is_what_its_parts_have_in_common() -> None:
    assert Combined(["cross_entropy", "dice"]).takes == ("classes", "pixels")
    assert not Combined(["mse", "mae"]).paired
    assert Combined(["cross_entropy", "triplet"]).paired


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (lambda: Combined([]), ConfigError, "must have losses, but it has none"),
        (lambda: Combined(["mse"], weights=[1, 2]), ConfigError, r"a number for each loss, but weights=\[1, 2\] for 1"),
        (lambda: Combined(["mse"], weights=[-1]), ConfigError, "must be at least 0, and at least one above 0"),
        (lambda: Combined(["mse"], weights=[0]), ConfigError, r"and at least one above 0, but weights=\[0\]"),
        (lambda: Combined(["mse"], "product", [1]), ConfigError, "`weights` belong to rule=average"),
        (lambda: Combined(["mse"], "sum"), UnknownNameError, "No rule of combined losses is called 'sum'"),
        (lambda: Combined(["mze"]), UnknownNameError, "No loss is called 'mze'. Did you mean 'mse'"),
    ],
)
def test_what_does_not_fit_is_named(wrong, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        wrong()
