"""`autoloss train` on a disk that is full: a record that cannot be written does not end it, a checkpoint does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from autoloss.report import read

pytestmark = pytest.mark.slow
pytest.importorskip("resource")
SMALL = ("problem=full_disk_problem:FullDisk", "problem.pairs=400", "trainer.max_epochs=4", "record.every=1")


def train(place, until, *more):
    paths = [str(Path(__file__).parent), *sys.path]
    env = {**os.environ, "FULL_UNTIL": str(until), "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "autoloss", "train", *SMALL, "hydra.run.dir=run", *more]
    return subprocess.run(command, cwd=place, env=env, capture_output=True, text=True, timeout=240)


def test_a_record_that_cannot_be_written_is_a_gap(tmp_path):
    whole = train(tmp_path, 0, "checkpoint.every=0", "hydra.run.dir=whole")
    assert whole.returncode == 0, whole.stderr
    steps = len(read(tmp_path / "whole").steps)
    done = train(tmp_path, steps - 1, "checkpoint.every=0")
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("RecordWarning") == 1, done.stderr
    assert "Traceback" not in done.stderr
    found, before = read(tmp_path / "run"), read(tmp_path / "whole")
    assert found.run.finished
    assert found.gaps
    assert found.metrics == before.metrics
    missing = sum(last - first + 1 for first, last in found.gaps)
    assert len(found.steps) == steps - missing
    assert "they could not be written" in (tmp_path / "run/report.html").read_text()


def test_a_checkpoint_that_cannot_be_written_ends_the_training(tmp_path):
    done = train(tmp_path, 10_000)
    assert done.returncode in (1, 2), done.stderr
    # That of the first epoch, before the disk was full, is whole.
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["epoch"] == 0
    assert not read(tmp_path / "run").run.finished
