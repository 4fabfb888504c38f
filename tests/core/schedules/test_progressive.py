"""Numbers that follow progress, in any component that is built from what people write."""

import copy

import pytest
import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.loss import Loss
from autoloss.core.schedules.progressive import build

PREDICTION, TARGET = torch.tensor([3.0, -1.0]), torch.zeros(2)


class Forgetful(Loss):
    """Keeps its parameter under another name."""

    def __init__(self, power: float = 2.0, label: str = "none(0)", count: int = 3) -> None:
        super().__init__()
        self._power, self.label, self.count = power, label, count

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return (prediction - target).abs() ** self._power


def test_a_number_follows_its_schedule() -> None:
    loss = build("loss", {"name": "huber", "delta": "linear(1,3)"})
    for progress, delta in ((0.0, 1.0), (0.5, 2.0), (1.0, 3.0), (0.25, 1.5)):
        loss.follow(progress)
        expected = build("loss", {"name": "huber", "delta": delta})
        assert torch.equal(loss(PREDICTION, TARGET), expected(PREDICTION, TARGET))


def test_without_a_schedule_nothing_follows() -> None:
    loss = build("loss", {"name": "huber", "delta": 1.5})
    loss.follow(1.0)
    assert (loss.delta, loss.schedules) == (1.5, {})


def test_each_number_of_a_list_may_follow_one() -> None:
    loss = build("loss", {"name": "cross_entropy", "class_weights": [1, "linear(0,2)"]})
    loss.follow(0.5)
    assert loss.class_weights == (1.0, 1.0)
    loss.follow(1.0)
    assert loss.class_weights == (1.0, 2.0)


def test_parts_follow_too() -> None:
    loss = build("loss", {"name": "combined", "losses": ["mse", {"huber": {"delta": "step(1,2)"}}]})
    loss.follow(0.7)
    assert loss.parts[1].delta == 2.0


def test_whole_numbers_stay_whole_and_text_stays_text() -> None:
    loss = build("loss", {"name": f"{__name__}:Forgetful", "label": "linear(0,1)", "count": "linear(0,3)"})
    loss.follow(0.5)
    assert (loss.label, loss.count) == ("linear(0,1)", 2)
    assert isinstance(loss.count, int)


def test_what_is_built_is_given_back_and_a_copy_follows_by_itself() -> None:
    loss = build("loss", {"name": "huber", "delta": "linear(1,3)"})
    assert build("loss", loss) is loss
    other = copy.deepcopy(loss)
    other.follow(1.0)
    assert (loss.delta, other.delta) == (1.0, 3.0)


def test_building_draws_no_random_numbers() -> None:
    before = torch.get_rng_state()
    build("loss", {"name": "huber", "delta": "cosine(1,3)"})
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"name": "focal", "gamma": "linear(0,-2)"}, ConfigError, "`gamma` must be at least 0, but gamma=-2"),
        ({"name": "focal", "gamma": "cyclical(-1,2)"}, ConfigError, "`gamma` must be at least 0, but gamma=-1"),
        ({"name": "focal", "gamma": "liner(0,2)"}, UnknownNameError, "Did you mean 'linear'"),
        ({"name": "focal", "gama": "linear(0,2)"}, UnknownNameError, "Did you mean 'gamma'"),
        ({"name": "total_variation", "isotropic": "linear(0,1)"}, ConfigError, "'isotropic' is true or false"),
        ({"name": f"{__name__}:Forgetful", "power": "linear(1,2)"}, ConfigError, "has no attribute 'power'"),
        ({"gamma": 1}, ConfigError, "A loss must have a name"),
    ],
)
def test_what_cannot_be_built_is_named(given: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build("loss", given)
