"""Metrics that a problem concludes from sums, and the pictures of a problem that is no GAN."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoloss.app.train_one import train
from autoloss.core.problem import Pictures
from autoloss.problems.two_digits import TwoDigits
from autoloss.training.lightning import run_module
from autoloss.training.lightning.callbacks.sample_grid import LINE, TITLED, grid

ROOT = Path(__file__).resolve().parents[3]


class Counted(TwoDigits):
    """Two digits, with the share of each predicted class as sums, and the spread of all errors of a split."""

    metrics = {"left_error": "min", "counted_error": "min", "spread": "min"}

    def tally(self, outputs):
        left = outputs.term("left")
        wrong = (left.prediction.argmax(1) != left.target).double()
        error = (outputs.term("pixels").prediction - outputs.term("pixels").target).square().mean(1).double()
        return {"wrong": torch.stack([wrong.sum(), torch.ones_like(wrong).sum()]), "moments": _moments(error)}

    def conclude(self, sums):
        number, first, second = sums["moments"].tolist()
        spread = (second / number - (first / number) ** 2) ** 0.5
        wrong, whole = sums["wrong"].tolist()
        return {"counted_error": wrong / whole, "spread": spread, "number": whole}


class Pictured(Counted):
    """The same, with pictures that draw random numbers."""

    def pictures(self, network, batch):
        assert not network.training
        assert not torch.is_grad_enabled()
        canvas = torch.rand_like(batch["canvas"]) * batch["canvas"]
        return Pictures(torch.stack([batch["canvas"], canvas], 1), ("canvas", "noisy"))


def _moments(values):
    return torch.stack([torch.ones_like(values).sum(), values.sum(), values.square().sum()])


def config(problem, **more):
    return {
        "problem": {"name": f"{__name__}:{problem}", "pairs": 300},
        "weighting": {"name": "equal"},
        "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.003},
        "lr_schedule": {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": None},
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "log_every_n_steps": 1},
        "batch_size": 64,
        "threads": 1,
        **more,
    }


def test_a_tally_gives_the_metric_of_the_whole_split(tmp_path):
    summary = train(config("Counted", test=True), tmp_path)
    for metrics in (summary["metrics"], summary["test_metrics"]):
        # The last batch is smaller than the others: a mean of the batches' means would differ.
        assert metrics["counted_error"] == pytest.approx(metrics["left_error"], abs=1e-6)
        assert metrics["spread"] > 0
    written = (tmp_path / "metrics.csv").read_text().splitlines()[0].split(",")
    assert {"val/counted_error", "val/spread"} <= set(written)


@pytest.mark.slow
def test_the_sums_of_ranks_are_added(tmp_path):
    options = ("problem.pairs=200", "batch_size=20", "trainer.max_epochs=1", "trainer.devices=2", "name=two")
    command = [
        sys.executable,
        "-m",
        "autoloss",
        "train",
        f"problem={__name__}:Counted",
        "trainer.accelerator=cpu",
        *options,
    ]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    subprocess.run(command, cwd=tmp_path, check=True, timeout=240, env={**os.environ, "PYTHONPATH": paths})
    metrics = json.loads((tmp_path / "outputs/train/two/001/summary.json").read_text())["metrics"]
    assert metrics["number"] == 50
    assert metrics["counted_error"] == pytest.approx(metrics["left_error"], abs=1e-6)


def test_pictures_are_in_tensorboard_and_change_nothing(tmp_path):
    plain, pictured = (train(config(name), tmp_path / name) for name in ("Counted", "Pictured"))
    assert plain["metrics"] == pictured["metrics"]
    assert not (tmp_path / "Counted" / "samples.png").exists()
    with Image.open(tmp_path / "Pictured" / "samples.png") as picture:
        side = 12 * -(-TITLED // 12) + 2
        assert picture.size == (2 * side, 8 * side + LINE)
    events = EventAccumulator(str(tmp_path / "Pictured"), size_guidance={"images": 0}).Reload()
    assert len(events.Images("samples")) == 2


def test_there_are_no_pictures_where_a_rank_has_a_shard_of_the_network(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "SHARDING", (object,))
    train(config("Pictured"), tmp_path)
    assert not (tmp_path / "samples.png").exists()


def test_titles_stand_above_their_columns():
    images = torch.rand(2, 3, 3, 20, 20)
    bare, titled = grid(images, ("",) * 3), grid(images, ("one", "", "three"))
    assert titled.shape == bare.shape
    assert torch.equal(titled[LINE:], bare[LINE:])
    width = titled.shape[1] // 3
    dark = [(titled[:LINE, k * width : (k + 1) * width] < 128).any() for k in range(3)]
    assert [bool(one) for one in dark] == [True, False, True]


def test_members_of_a_fleet_have_the_metrics_that_they_have_alone(autoloss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = ("problem.pairs=200", "trainer.max_epochs=1", "weighting=equal,uncertainty", "compare.seeds=2")
    for name, fleet in (("alone", 1), ("fleet", 4)):
        problem = f"problem={__name__}:Counted"
        autoloss("compare", problem, *small, f"compare.fleet={fleet}", f"name={name}")
    alone, fleet = (
        {path.parent.relative_to(name): json.loads(path.read_text()) for path in Path(name).rglob("summary.json")}
        for name in ("outputs/compare/alone", "outputs/compare/fleet")
    )
    assert len(alone) == 4
    assert alone.keys() == fleet.keys()
    for place, one in alone.items():
        for split in ("metrics", "test_metrics"):
            assert fleet[place][split] == pytest.approx(one[split], rel=1e-3)
