"""`autoloss train` with a base weight that follows progress."""

import csv
import json

import pytest


def columns(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


@pytest.mark.parametrize(
    ("problem", "loss", "column"),
    [("two_digits", "left", "loss_weight/left"), ("digits_gan", "cls", "loss_weight/generator/cls")],
)
def test_the_record_holds_the_present_weight(problem, loss, column, autoloss, tmp_path):
    chosen = (f"problem={problem}", f"base.{loss}=linear(0,0.5)", "weighting=equal", "trainer.max_epochs=1")
    run = autoloss("train", *chosen, "record.every=1", f"hydra.run.dir={tmp_path / 'run'}")
    assert run.returncode == 0, run.stderr
    found = columns(tmp_path / "run" / "trajectory.csv")
    assert found[column] == pytest.approx([0.5 * progress for progress in found["progress"]], abs=1e-6)
    assert max(found["progress"]) > 0.5
    players = json.loads((tmp_path / "run" / "record.json").read_text())["players"].values()
    assert {"base_schedules" in player for player in players} == {True} if problem == "two_digits" else {True, False}


def test_what_is_no_schedule_is_a_sentence(autoloss):
    for text, says in (("linear(1,-1)", "must be finite and not negative"), ("linear(0)", "linear(first, last")):
        run = autoloss("train", f"base.left={text}")
        assert run.returncode == 2
        assert says in run.stderr
        assert len(run.stderr.splitlines()) == 1
