"""Two players on two real processes."""

import json
from pathlib import Path

import pytest

from tests import processes

SCRIPT = Path(__file__).with_name("ddp_script.py")
CASES = ("plain", "weighted", "accumulated", "paced", "skipping")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    out = tmp_path_factory.mktemp("ddp")
    processes.wait(processes.start_ranks(SCRIPT, [str(out)], out / "log"), out / "log", timeout=300)
    return [json.loads((out / f"{rank}.json").read_text()) for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_ranks_stay_identical_and_draw_noise_of_their_own(ranks, case):
    one, other = (rank[case] for rank in ranks)
    assert one["state"].keys() == other["state"].keys()
    for name, value in one["state"].items():
        if name == "pace.seen":  # what each has seen since they last put it together
            continue
        assert value == other["state"][name], name
    assert one["done"] == other["done"]
    assert one["drawn"] != other["drawn"]
    assert (one["skipped"], other["skipped"]) == ((1, 1) if case == "skipping" else (0, 0))
