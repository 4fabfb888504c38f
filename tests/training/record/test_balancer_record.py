"""A person's own loop leaves the same record as `autoloss train`."""

import csv
import json
import re
import subprocess
import sys

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from torch import nn

import autoloss
from autoloss import Balancer
from autoloss.report import read
from autoloss.training.record import recorder
from autoloss.training.record.tensorboard import tag_of


def run(directory, steps, weighting="gradnorm", balancer=None, **options):
    torch.manual_seed(0)
    trunk, heads = nn.Linear(3, 4), [nn.Linear(4, 1) for _ in range(2)]
    balancer = balancer or Balancer(["a", "b"], weighting, log_dir=directory, record_every=4, **options)
    for _ in range(steps):
        features = trunk(torch.randn(8, 3))
        balancer({n: h(features).square().mean() for n, h in zip("ab", heads, strict=True)}, anchor=features)
    balancer.close()
    return balancer


def rows_of(directory):
    with (directory / "trajectory.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_trajectory_and_events_hold_the_same_numbers(tmp_path):
    balancer = run(tmp_path, 11, total_steps=11)
    rows = rows_of(tmp_path)
    assert [int(row["step"]) for row in rows] == [0, 4, 8, 10]
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    for tag in ("loss_weight/a", "loss_raw/b", "loss_weighted/a", "grad_norm/b", "loss/total"):
        scalars = events.Scalars(tag_of(tag))
        assert [s.step for s in scalars] == [0, 4, 8, 10]
        assert [s.value for s in scalars] == pytest.approx([float(row[tag]) for row in rows], rel=1e-6)
    assert float(rows[-1]["loss_weight/a"]) == pytest.approx(balancer.weights["a"])
    product = float(rows[1]["loss_weight/a"]) * float(rows[1]["loss_raw/a"])
    assert float(rows[1]["loss_weighted/a"]) == pytest.approx(product, rel=1e-5)
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    assert [category.title for category in layout.category] == ["weights", "losses", "gradients"]
    charts = {chart.title: list(chart.multiline.tag) for category in layout.category for chart in category.chart}
    assert [chart.title for chart in layout.category[0].chart] == ["loss weights"]
    for title, kind in (("loss weights", "loss_weight"), ("gradient norms", "grad_norm")):
        # TensorBoard takes a tag of a chart for a pattern, and shows all tags that begin so.
        shown = {tag for tag in events.Tags()["scalars"] for pattern in charts[title] if re.match(pattern, tag)}
        assert shown == {tag_of(f"{kind}/a"), tag_of(f"{kind}/b")}


def test_a_chart_shows_no_loss_whose_name_begins_as_another_s_or_is_a_pattern(tmp_path):
    names = ["a", "ab", "a.b", "a(b", "[a]+"]
    balancer = Balancer(names, "equal", log_dir=tmp_path, record_every=1)
    balancer({name: torch.ones(()) for name in names})
    balancer.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"scalars": 0, "tensors": 0}).Reload()
    layout = Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    patterns = layout.category[0].chart[0].multiline.tag
    for pattern, name in zip(patterns, names, strict=True):
        assert [tag for tag in events.Tags()["scalars"] if re.match(pattern, tag)] == [f"1_loss_weight/{name}"]


def test_a_resumed_loop_continues_its_own_trajectory(tmp_path):
    first = run(tmp_path, 10)
    resumed = Balancer(["a", "b"], "gradnorm", log_dir=tmp_path, record_every=4)
    resumed.load_state_dict(first.state_dict(), strict=True)
    run(tmp_path, 6, balancer=resumed)
    assert [int(row["step"]) for row in rows_of(tmp_path)] == [0, 4, 8, 9, 12, 15]


def test_its_files_say_which_version_wrote_them_and_are_read_without_it(tmp_path):
    run(tmp_path, 3)
    for name in ("record.json", "summary.json"):
        found = json.loads((tmp_path / name).read_text())
        said = found.pop("version") if name == "record.json" else found.pop("versions")["autoloss"]
        assert said == autoloss.__version__
        (tmp_path / name).write_text(json.dumps(found))
    assert len(read(tmp_path).weights["a"]) == 2


def test_an_absent_loss_is_an_empty_cell(tmp_path):
    balancer = Balancer(["a", "b"], "equal", log_dir=tmp_path, record_every=1)
    balancer({"a": torch.ones(())})
    balancer.close()
    assert rows_of(tmp_path)[0]["loss_weight/b"] == ""


def test_nothing_is_written_without_log_dir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run(None, 3)
    assert list(tmp_path.iterdir()) == []


def steps_on(balancer, steps):
    for _ in range(steps):
        balancer({"a": torch.ones(()), "b": torch.ones(())})


def test_a_with_block_closes_and_after_an_error_it_keeps_the_rows(tmp_path):
    with Balancer(["a", "b"], "equal", log_dir=tmp_path / "whole", record_every=1) as balancer:
        steps_on(balancer, 3)
    assert len(rows_of(tmp_path / "whole")) == 3
    assert (tmp_path / "whole" / "summary.json").exists()

    def fails():
        with Balancer(["a", "b"], "equal", log_dir=tmp_path / "broken", record_every=1) as balancer:
            steps_on(balancer, 3)
            raise MemoryError

    with pytest.raises(MemoryError):
        fails()
    assert len(rows_of(tmp_path / "broken")) == 3
    assert not (tmp_path / "broken" / "summary.json").exists()


def test_rows_are_written_by_time(tmp_path, monkeypatch):
    balancer = Balancer(["a", "b"], "equal", log_dir=tmp_path, record_every=1)
    steps_on(balancer, 3)
    assert len(rows_of(tmp_path)) == 0
    now = recorder.time.monotonic()
    monkeypatch.setattr(recorder.time, "monotonic", lambda: now + 61)
    steps_on(balancer, 2)
    assert len(rows_of(tmp_path)) == 3
    balancer.close()
    assert len(rows_of(tmp_path)) == 5


def test_a_process_that_ends_without_close_leaves_its_rows(tmp_path):
    script = (
        "import os, sys, torch, autoloss\n"
        "x = torch.ones(2, requires_grad=True)\n"
        "balancer = autoloss.Balancer(['a', 'b'], 'equal', log_dir='run', record_every=10)\n"
        "for i in range(34):\n"
        "    balancer({'a': x.sum(), 'b': x.square().sum()}).backward()\n"
        "if not os.fork():\n"
        "    sys.exit(0)\n"  # writes nothing: the rows are its parent's
        "os.wait()\n"
        "del balancer\n"
        "raise MemoryError('as it happens')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == "MemoryError: as it happens"
    assert [int(row["step"]) for row in rows_of(tmp_path / "run")] == [0, 10, 20, 30, 33]
