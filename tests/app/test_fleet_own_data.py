"""Members with data of their own: a problem that keeps something of its data, and masks that differ."""

import csv
from dataclasses import replace

import pytest

from autoloss.app.fleet_request import train_alone
from autoloss.app.fleet_runs import FleetRuns
from autoloss.problems.two_digits import TwoDigits
from tests.app.fleets import members, request, worth_it

__all__ = ["members", "worth_it"]  # fixtures


class Scaled(TwoDigits):
    """Divides its metrics by what its data say, and tells what nobody reads."""

    def datasets(self, seed):
        self.scale, self.told = 1.0 + seed % 2, seed
        return super().datasets(seed)

    def measure(self, outputs):
        return {name: values / self.scale for name, values in super().measure(outputs).items()}


class Masked(TwoDigits):
    """One of its losses has a mask, which is another one in each member's data."""

    def datasets(self, seed):
        found = dict(super().datasets(0))
        held, _ = self.hold_out(found["val"], 0.5, seed)
        return {**found, "val": held}

    def outputs(self, network, batch):
        found = super().outputs(network, batch)
        left = found.term("left")
        return replace(found, terms={**found.terms, "left": replace(left, mask=left.target > 4)})


def metrics_of(directory):
    with (directory / "metrics.csv").open(newline="") as file:
        return [{name: float(x or "nan") for name, x in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize(
    ("problem", "seeds", "fleets", "why"),
    [
        (Scaled, (0, 1, 2, 3), [2, 2], ""),
        (Scaled, (0, 1, 2), [2], "scale differs, which the outputs or metrics read"),
        (Masked, (0, 1, 2), [3], ""),
    ],
)
def test_members_measure_what_they_measure_alone(tmp_path, worth_it, members, problem, seeds, fleets, why):
    given, said = f"problem={__name__}:{problem.__name__}", []
    found = FleetRuns(says=said.append).train([request(tmp_path, f"fleet {i}", given, f"seed={i}") for i in seeds])
    assert members == fleets
    assert len(said) == bool(why)
    assert all(why in one for one in said)
    for i, one in zip(seeds, found, strict=True):
        alone = train_alone(request(tmp_path, f"alone {i}", given, f"seed={i}"))
        assert one["metrics"] == pytest.approx(alone["metrics"], rel=1e-4)
        ours, theirs = (metrics_of(tmp_path / f"{way} {i}") for way in ("fleet", "alone"))
        for row, other in zip(ours, theirs, strict=True):
            assert row == pytest.approx(other, rel=1e-3, nan_ok=True)
