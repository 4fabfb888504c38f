"""Regression losses against torch's and their definitions."""

import pytest
import torch
from torch.nn import functional

from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.losses.huber import Huber
from autoloss.losses.mae import Mae
from autoloss.losses.mse import Mse
from autoloss.losses.smooth_l1 import SmoothL1
from autoloss.testing import samples

with torch.random.fork_rng():
    torch.manual_seed(0)
    PREDICTION, TARGET = (x.double() for x in samples.regression(16, 3, 2))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (Mse(), functional.mse_loss),
        (Mae(), functional.l1_loss),
        (Huber(0.3), lambda p, t, reduction: functional.huber_loss(p, t, delta=0.3, reduction=reduction)),
        (SmoothL1(0.3), lambda p, t, reduction: functional.smooth_l1_loss(p, t, beta=0.3, reduction=reduction)),
    ],
)
def test_agrees_with_torch(ours, theirs) -> None:
    values = ours(PREDICTION, TARGET)
    assert torch.allclose(values, theirs(PREDICTION, TARGET, reduction="none").mean((1, 2)))
    assert torch.allclose(values.mean(), theirs(PREDICTION, TARGET, reduction="mean"))


def test_values_by_hand() -> None:
    error, zero = torch.tensor([0.25, -3.0]), torch.zeros(2)
    assert Mse()(error, zero).tolist() == [0.0625, 9.0]
    assert Mae()(error, zero).tolist() == [0.25, 3.0]
    assert Huber(0.5)(error, zero).tolist() == [0.03125, 1.375]  # e^2 / 2, and 0.5 (3 - 0.25)
    assert SmoothL1(0.5)(error, zero).tolist() == [0.0625, 2.75]  # e^2 / (2 * 0.5), and 3 - 0.25


@pytest.mark.parametrize("scale", [0.01, 0.5, 1.0, 7.0])
def test_huber_is_delta_times_smooth_l1(scale: float) -> None:
    assert torch.allclose(Huber(scale)(PREDICTION, TARGET), scale * SmoothL1(scale)(PREDICTION, TARGET))


@pytest.mark.parametrize("loss", [Huber(0.7), SmoothL1(0.7)])
def test_value_and_slope_are_continuous_where_the_parabola_ends(loss) -> None:
    error = torch.tensor([0.7 - 1e-9, 0.7 + 1e-9], dtype=torch.float64, requires_grad=True)
    below, above = loss(error, torch.zeros(2, dtype=torch.float64))
    slopes = torch.autograd.grad(below + above, error)[0]
    assert below.item() == pytest.approx(above.item(), abs=1e-8)
    assert slopes[0].item() == pytest.approx(slopes[1].item(), abs=1e-8)


def test_smooth_l1_goes_to_mae() -> None:
    mae = Mae()(PREDICTION, TARGET)
    assert torch.equal(SmoothL1(0.0)(PREDICTION, TARGET), mae)
    assert torch.allclose(SmoothL1(1e-9)(PREDICTION, TARGET), mae)


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "smooth_l1"])
def test_a_column_against_a_row_is_an_error_and_not_a_square(name: str) -> None:
    loss = registry.build("loss", name)
    with pytest.raises(ConfigError, match=r"the same shape, but the prediction is \[4, 1\] and the target is \[4\]"):
        loss(torch.zeros(4, 1), torch.zeros(4))


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "smooth_l1"])
def test_a_prediction_in_bfloat16_loses_nothing_of_the_target(name: str) -> None:
    values = registry.build("loss", name)(torch.zeros(1).bfloat16(), torch.tensor([0.1]))
    assert values.dtype == torch.float32
    assert torch.equal(values, registry.build("loss", name)(torch.zeros(1), torch.tensor([0.1])))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [(lambda: Huber(0.0), "`delta` must be above 0"), (lambda: SmoothL1(-1.0), "`eps` must be at least 0")],
)
def test_wrong_parameters_are_named(wrong, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        wrong()
