"""A disk that is full under a record does not end the training of its user."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoloss import Balancer, ConfigError
from autoloss.report import read
from tests.training.record.test_claim import step

SCRIPT = Path(__file__).with_name("full_disk_script.py")
resource = pytest.importorskip("resource")


def run(place, until):
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(place), str(until)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["trained 1000", "closed"]
    assert done.stderr.count("RecordWarning") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.slow
def test_the_training_goes_on_with_one_warning_and_the_page_shows_the_gap(tmp_path):
    said = run(tmp_path, 600)
    assert "The training goes on; rows are missing" in said
    found = read(tmp_path)
    steps = found.steps.astype(int).tolist()
    [*_, (_, last)] = found.gaps
    first = found.gaps[0][0]
    assert steps == [*range(first), *range(last + 1, 1000)]
    assert 100 < first < 600 < last + 65
    assert found.run.finished
    assert f"{first:,} to" in (tmp_path / "report.html").read_text()
    assert "they could not be written" in (tmp_path / "report.html").read_text()
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        assert {len(row) for row in csv.reader(file)} == {len(found.columns)}
    # No event is torn: those after the gap are read.
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0}).Reload()
    assert events.Scalars("loss/total")[-1].step == 999


@pytest.mark.slow
def test_a_disk_that_stays_full_costs_the_rest_of_the_record_only(tmp_path):
    run(tmp_path, 5000)
    assert len(read(tmp_path).steps) >= 100


def test_a_place_that_cannot_be_written_is_one_sentence_at_the_first_step(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="A log_dir must be a directory in which files can be written"):
        step(Balancer(["a", "b"], "equal", log_dir=tmp_path / "file"))
