"""Weights that the user gives: fixed and scheduled."""

import pytest
import torch

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.weightings.fixed import Fixed
from autoloss.weightings.mean import Mean
from autoloss.weightings.scheduled import Scheduled


def test_fixed_weights_by_name(signals_of):
    weighting = Fixed({"b": 2.5}).bind(["a", "b"])
    assert weighting(signals_of(torch.ones(2))).tolist() == [1.0, 2.5]


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf"), "much"])
def test_a_weight_must_be_a_number_that_can_weigh(bad):
    with pytest.raises(ConfigError, match=r"must be finite and not negative, but weights\.a"):
        Fixed({"a": bad})


def test_scheduled_weights_follow_progress(signals_of):
    weighting = Scheduled({"a": "linear(0,2)", "b": 3}).bind(["a", "b", "c"])
    assert weighting(signals_of(torch.ones(3), progress=0.25)).tolist() == [0.5, 3.0, 1.0]
    with pytest.raises(ConfigError, match=r"schedules\.a falls to -1"):
        Scheduled({"a": "linear(1,-1)"})
    with pytest.raises(ConfigError, match="there is no loss 'z'"):
        Scheduled({"z": 1}).bind(["a"])


def test_scheduled_weights_follow_epochs_or_plateaus(signals_of):
    by_epoch = Scheduled({"a": "linear(0,2,0,20)"}, by="epoch").bind(["a", "b"])
    assert by_epoch(signals_of(torch.ones(2), epoch=5)).tolist() == [0.5, 1.0]
    assert by_epoch(signals_of(torch.ones(2), epoch=30)).tolist() == [2.0, 1.0]
    by_plateau = Scheduled({"a": "step(1,0.5,2)"}, by="plateau").bind(["a", "b"])
    found = [by_plateau(signals_of(torch.ones(2), plateaus=count)).tolist()[0] for count in range(4)]
    assert found == [1, 1, 0.5, 0.5]
    with pytest.raises(UnknownNameError, match="'plateau'"):
        Scheduled({"a": 1}, by="plateaus")
    with pytest.raises(ConfigError, match=r"schedules\.a falls to"):
        Scheduled({"a": "linear(1,-1,0,20)"}, by="epoch")


def test_mean_counts_the_present(signals_of):
    assert Mean().bind(["a", "b", "c"])(signals_of(torch.ones(3), present=[True, False, True])).tolist() == [
        0.5,
        0.5,
        0.5,
    ]
