"""Bounds on the command line: in each module, resumed, beside a fleet, on the page, and in sentences."""

import csv
import json

import pytest
import yaml

from autoloss import load

TWO = ("problem=two_digits", "problem.pairs=300", "trainer.max_epochs=6", "record.every=1")
LEFT = ("constraints.left.max=0.2", "constraints.left_error.max=0.02", "constraints.left_error.loss=left")


def summary(path):
    return json.loads((path / "summary.json").read_text())


def rows(path):
    with (path / "trajectory.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_bounds_are_learned_recorded_and_shown(autoloss, tmp_path):
    done = autoloss("train", *TWO, *LEFT, "name=a")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "outputs/train/a/001"
    found = summary(run)["constraints"]
    assert found["left.max"]["loss"] == found["left_error.max"]["loss"] == "left"
    assert found["left_error.max"]["value"] == pytest.approx(summary(run)["metrics"]["left_error"])
    assert found["left_error.max"]["slack"] == pytest.approx(0.02 - summary(run)["metrics"]["left_error"])
    assert found["left.max"]["multiplier"] > 0
    assert f"multipliers: left.max {found['left.max']['multiplier']:.4g}" in done.stdout
    for row in rows(run):
        grown = float(row["multiplier/left.max"]) + float(row["multiplier/left_error.max"])
        assert float(row["loss_weight/left"]) == pytest.approx(1 + grown, rel=1e-5)
    model = load(run)
    assert model.balancer.player.constraints.shown() == found
    page = (run / "report.html").read_text()
    assert "left_error &lt;= 0.02" in page
    assert "missed by" in page
    done = autoloss("distill", str(run))
    assert done.returncode == 0, done.stderr
    use = next(line for line in done.stdout.splitlines() if line.startswith("use it: "))
    assert "constraints" not in use
    assert "problem.pairs=300" in use
    schedule = yaml.safe_load((run / "schedule.yaml").read_text())
    assert "left" in str(schedule)


@pytest.mark.slow
def test_a_gan_keeps_a_bound_of_its_generator(autoloss, tmp_path):
    done = autoloss(
        "train", "problem=digits_vae_gan", "trainer.max_epochs=3", "trainer.check_val_every_n_epoch=1", "record.every=1",
        "constraints.kl.max=1.0", "constraints.rec_mse.max=0.01", "constraints.rec_mse.loss=rec", "name=a",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = rows(tmp_path / "outputs/train/a/001")[-1]
    kl, rec = float(last["multiplier/generator/kl.max"]), float(last["multiplier/generator/rec_mse.max"])
    assert kl > 0
    assert rec > 0
    assert float(last["loss_weight/generator/kl"]) == pytest.approx(0.001 * (1 + kl), rel=1e-4)
    assert float(last["loss_weight/generator/rec"]) == pytest.approx(1 + rec, rel=1e-4)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("constraints.lft.max=1", "No loss or metric is called 'lft'. Did you mean 'left'?"),
        ("constraints.left_error.max=0.1", "Write constraints.left_error.loss=left."),
        ("constraints.left.max=nan", "constraints.left.max must be a finite number"),
        ("constraints.left=1", "Write constraints.left.max=0.1."),
        ("constraints.left.max=1 base.left=0", "that of left is 0. Set base.left above 0."),
        ("constraints.left.max=1 constraints.right.mix=2", "No key of constraints.right is called 'mix'"),
    ],
)
def test_mistakes_are_sentences(mistaken, given, message):
    code, _, err = mistaken(f"train problem=two_digits {given}")
    assert code == 2
    assert message in err
