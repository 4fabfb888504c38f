"""Trajectories of earlier versions, which a change of the code's shape must not change.

On the machine that wrote them they are equal bit for bit (`cmp`); other processors add in another order, and what they
round differently grows with the steps. They were written by

    autoloss train problem=two_digits weighting=NAME seed=0 threads=1 trainer.max_epochs=3 record.every=5

by 0.1.0, and `two_digits_auto_lambda_log.csv` by 0.2.0, whose held-out objective is `log` by default.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from autoloss.app.main import main

HERE = Path(__file__).parent


def _rows(path: Path) -> tuple[list[str], list[list[float]]]:
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    return header, [[float(cell or "nan") for cell in row] for row in rows]


AS_BEFORE = {"auto_lambda": ["held_out.objective=sum", "held_out.source=share"]}


@pytest.mark.parametrize("weighting", ["equal", "gradnorm", "auto_lambda"])
def test_a_training_computes_what_it_computed_in_0_1_0(weighting: str, tmp_path: Path) -> None:
    compare([f"weighting={weighting}", *AS_BEFORE.get(weighting, [])], f"two_digits_{weighting}.csv", tmp_path)


def test_a_training_computes_what_it_computed_in_0_2_0(tmp_path: Path) -> None:
    compare(["weighting=auto_lambda"], "two_digits_auto_lambda_log.csv", tmp_path)


def compare(overrides: list[str], golden: str, tmp_path: Path) -> None:
    """Train with ``overrides`` and compare the trajectory with that in the file ``golden``."""
    asked = ["problem=two_digits", *overrides, "seed=0", "threads=1"]
    length = ["trainer.max_epochs=3", "record.every=5", "checkpoint.every=0"]
    assert main(["train", *asked, *length, f"hydra.run.dir={tmp_path}"]) == 0
    columns, before = _rows(HERE / golden)
    now_columns, now = _rows(tmp_path / "trajectory.csv")
    assert now_columns[: len(columns)] == columns
    assert [row[0] for row in now] == [row[0] for row in before]
    for i, (row, expected) in enumerate(zip(now, before, strict=True)):
        tolerance = 1e-5 if i < 2 else 2e-2
        assert row == pytest.approx(expected, rel=tolerance, abs=tolerance / 10, nan_ok=True), f"row {i}"
