"""Counting plateaus of a validation metric."""

import pytest

from autoloss.core.errors import ConfigError
from autoloss.core.schedules.plateaus import Plateaus


def count(values, goal="min", **parameters):
    plateaus, found = Plateaus(**parameters), []
    for value in values:
        plateaus.see(value, goal)
        found.append(plateaus.count)
    return found


def test_a_plateau_is_patience_values_without_a_better_one():
    assert count([3, 2, 2, 2, 2, 1, 1, 1, 1], patience=2) == [0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert count([1, 2, 3, 2, 2, 2], goal="max", patience=3) == [0, 0, 0, 0, 0, 1]


def test_small_changes_are_none():
    assert count([1.0, 0.99, 0.98, 0.5], patience=2, change=0.1) == [0, 0, 1, 1]


def test_not_a_number_is_no_improvement():
    assert count([float("nan")] * 2, patience=2) == [0, 1]


def test_it_goes_on_from_its_state():
    plateaus, other = Plateaus(2), Plateaus(2)
    for value in (1.0, 1.0, 1.0, 2.0):
        plateaus.see(value)
    other.load(plateaus.state())
    other.see(1.5)
    assert (other.count, other.best) == (2, 1.0)


def test_mistakes():
    with pytest.raises(ConfigError, match="patience must be at least 1"):
        Plateaus(0)
