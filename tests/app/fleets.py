"""Runs for the tests of fleets, and how many members each fleet had."""

import csv

import pytest

from autoloss.app.composition import composed
from autoloss.app.fleet_request import Request
from autoloss.training.fleet.training import FleetTraining

SMALL = ("problem.pairs=200", "trainer.max_epochs=2")
FREE = "autoloss.training.fleet.price.LIGHTNING"  # a fleet of so few members need not be faster


@pytest.fixture
def worth_it(monkeypatch):
    monkeypatch.setattr(FREE, 1e9)


@pytest.fixture
def members(monkeypatch):
    """How many members each fleet had that was trained."""
    found = []
    train = FleetTraining.train
    monkeypatch.setattr(FleetTraining, "train", lambda self: (found.append(len(self.jobs)), train(self))[1])
    return found


def request(place, name, *overrides, report=None):
    chosen = [one for one in SMALL if "pairs" not in one or "problem=digits_gan" not in overrides]
    config = composed("train", [*chosen, "checkpoint.every=0", *overrides], [])
    return Request(config, place / name, overrides, name, report=report)


def rows(place):
    with (place / "trajectory.csv").open(newline="") as file:
        return [{name: float(x or "nan") for name, x in row.items()} for row in csv.DictReader(file)]
