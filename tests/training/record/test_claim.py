"""A record belongs to one balancer: two do not mix their rows, and a later one does not replace it unsaid."""

import csv
import gc
import json
import subprocess
import sys

import pytest
import torch

from autoloss import Balancer
from autoloss.core.errors import BusyError, ConfigError
from autoloss.report import read
from autoloss.training.record.unwritten import RecordWarning


def step(balancer, times=1):
    for _ in range(times):
        balancer({name: torch.ones((), requires_grad=True) for name in balancer.player.terms.names})
    return balancer


def made(place, losses="ab", weighting="equal", **options):
    return Balancer(list(losses), weighting, log_dir=place, record_every=1, **options)


def test_two_balancers_do_not_write_one_record(tmp_path):
    first, second = step(made(tmp_path), 3), made(tmp_path, "cd")
    with pytest.raises(BusyError, match="one balancer at a time, but another one writes to") as caught:
        step(second)
    assert "give each a directory of its own" in str(caught.value)
    first.close()
    assert list(read(tmp_path).weights) == ["a", "b"]
    assert len(read(tmp_path).steps) == 3


@pytest.mark.slow
def test_another_process_is_one_too(tmp_path):
    first = step(made(tmp_path))
    code = f"from tests.training.record.test_claim import *; step(made({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert "BusyError: A log_dir must belong to one balancer" in done.stderr
    first.close()


def test_a_balancer_that_nobody_can_reach_frees_its_directory_and_leaves_its_rows(tmp_path):
    step(made(tmp_path, weighting="uncertainty"), 3)
    gc.collect()
    assert len(read(tmp_path).steps) == 3
    second = made(tmp_path, weighting="uncertainty")
    with pytest.warns(RecordWarning, match="is replaced, since this run begins at step 0"):
        step(second)
    second.close()


@pytest.mark.parametrize(
    ("losses", "options", "says"),
    [
        ("ac", {}, r"losses \['a', 'b'\] and not \['a', 'c'\]"),
        ("ab", {"weighting": "uncertainty"}, "weighting 'equal' and not 'uncertainty'"),
        ("ab", {"base": {"a": 0.1}}, "base"),
        ("ab", {"groups": {"both": ["a", "b"]}}, "groups"),
    ],
)
@pytest.mark.parametrize("closed", [True, False])
def test_a_record_of_something_else_is_not_replaced(tmp_path, losses, options, says, closed):
    first = step(made(tmp_path), 3)
    if closed:
        first.close()
        before = (tmp_path / "summary.json").read_bytes()
    del first
    gc.collect()
    with pytest.raises(ConfigError, match=says) as caught:
        step(made(tmp_path, losses, **options))
    assert "Name another directory" in str(caught.value)
    assert len(read(tmp_path).steps) == 3
    if closed:
        assert (tmp_path / "summary.json").read_bytes() == before


def test_a_state_that_is_loaded_goes_on_with_the_record_and_keeps_the_losses_of_its_epoch(tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"

    def train(balancer, steps):
        for number in steps:
            balancer({"a": torch.tensor(float(number), requires_grad=True), "b": torch.ones(())})

    one = made(whole)
    train(one, range(3))
    one.measured({"error": 1.0})
    train(one, range(3, 9))
    one.measured({"error": 1.0})
    one.close()
    two = made(part)
    train(two, range(3))
    two.measured({"error": 1.0})
    train(two, range(3, 7))
    state = two.state_dict()
    train(two, range(7, 8))  # lost: the process is killed
    two._run_directory.flush()
    del two
    gc.collect()
    three = made(part)
    three.load_state_dict(state)
    train(three, range(7, 9))
    three.measured({"error": 1.0})
    three.close()
    assert (part / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    assert (part / "trajectory.csv").read_text() == (whole / "trajectory.csv").read_text()


def test_metrics_before_the_first_step_are_kept(tmp_path):
    balancer = made(tmp_path)
    balancer.measured({"error": 3.0}, {"error": "min"})
    step(balancer, 2)
    balancer.measured({"error": 1.0}, {"error": "min"})
    balancer.close()
    assert list(read(tmp_path).curves["val/error"]) == [3.0, 1.0]
    assert list(read(tmp_path).curves["step"]) == [0, 2]


def test_metrics_alone_are_a_record(tmp_path):
    balancer = made(tmp_path)
    balancer.measured({"error": 3.0})
    balancer.close()
    assert read(tmp_path).metrics == {"error": 3.0}


def test_a_summary_of_before_is_not_that_of_a_run_that_was_killed(tmp_path):
    first = step(made(tmp_path), 3)
    first.measured({"error": 9.0})
    first.close()
    second = made(tmp_path)
    with pytest.warns(RecordWarning, match="is replaced"):
        step(second)
    second._run_directory.flush()
    assert not read(tmp_path).run.finished
    second.close()


def test_names_that_a_spreadsheet_would_run_are_escaped_and_read_back(tmp_path):
    evil = '=HYPERLINK("http://x","y")'
    balancer = made(tmp_path)
    for name in (evil, "'=x", "+a", "-0.5", "plain"):
        balancer.notes.scalar(name, 2.0)
    step(balancer)
    state = balancer.state_dict()
    balancer.close()
    resumed = made(tmp_path)
    resumed.load_state_dict(state)
    for name in (evil, "'=x"):
        resumed.notes.scalar(name, 3.0)
    step(resumed)
    resumed.close()
    with (tmp_path / "trajectory.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert f"'{evil}" in header
    assert "''=x" in header
    assert "'+a" in header
    assert not [cell for cell in header if cell.startswith(("=", "+", "@"))]
    columns = read(tmp_path).columns
    assert list(columns[evil]) == [2.0, 3.0] == list(columns["'=x"])
    assert columns["plain"][0] == 2.0
    assert json.loads((tmp_path / "record.json").read_text())["config"]["weighting"] == "equal"
