"""Two real processes: whoever is given a `log_dir`, rank 0 writes, and nobody waits for somebody who does not come."""

import csv
import json
from pathlib import Path

import pytest

from autoloss.core.registry.lookup import registry
from tests import processes

SCRIPT = Path(__file__).with_name("recorded_ranks_script.py")
WHO = ("one", "all")


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    place = tmp_path_factory.mktemp("ranks")
    processes.wait(processes.start_ranks(SCRIPT, [str(place)], place / "log"), place / "log", timeout=120)
    return place


@pytest.mark.slow
def test_ranks_weigh_alike_whoever_records(out):
    one, other = (json.loads((out / f"{rank}.json").read_text()) for rank in (0, 1))
    assert one == other
    assert one.keys() == {f"{name} {who}" for name in registry.names("weighting") for who in WHO}


@pytest.mark.slow
@pytest.mark.parametrize("who", WHO)
def test_there_is_one_row_for_each_step_and_one_file_of_events(out, who):
    for name in registry.names("weighting"):
        place = out / who / name
        with (place / "trajectory.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == [0, 1, 2, 3], name
        assert rows[0]["grad_norm/a"], name
        assert len(list(place.glob("events*"))) == 1
        assert json.loads((place / "summary.json").read_text())["steps"] == 4


@pytest.mark.slow
def test_rank_0_alone_records_what_it_records_among_all(out):
    for name in registry.names("weighting"):
        assert (out / "one" / name / "trajectory.csv").read_text() == (
            out / "all" / name / "trajectory.csv"
        ).read_text()
