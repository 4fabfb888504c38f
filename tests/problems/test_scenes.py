"""The dense problem: its terms and metrics, its pictures, and data in LibMTL's folders."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from autoloss.core.errors import ConfigError
from autoloss.problems.scenes import Scenes
from autoloss.training.step.build import build_loss, loss_nodes

GOALS = {"mean_iou", "pixel_accuracy", "small_error", "depth_abs", "depth_rel", "centre_error"}
GOALS |= {"normal_mean", "normal_median", "normal_within_11"}
SHOWN = {"small_iou", "centre_f1"}
METRICS = GOALS | SHOWN
CENTRES = {"centre_f1", "centre_error"}


@pytest.fixture(scope="module")
def problem():
    return Scenes(rooms=8, side=16)


def batch_of(problem, split="train", count=3):
    dataset = problem.datasets(0)[split]
    if hasattr(dataset, "__getitems__"):
        return dataset.__getitems__(list(range(count)))
    return torch.utils.data.default_collate([dataset[k] for k in range(count)])


def test_a_batch_has_its_terms_an_anchor_and_all_metrics(problem):
    outputs = problem.outputs(problem.network(), batch_of(problem))
    assert list(outputs.terms) == ["segmentation", "depth", "normals", "centres"]
    assert outputs.anchor.shape == (3, 32, 8, 8)
    assert outputs.anchor.requires_grad
    assert set(problem.conclude(problem.tally(outputs))) == METRICS
    assert set(problem.metrics) == GOALS
    assert problem.measure(outputs) == {}


def test_maps_begin_without_a_chequered_pattern(problem):
    outputs = problem.outputs(problem.network(), batch_of(problem))
    for name in problem.terms:
        map_ = outputs.term(name).prediction
        blocks = torch.nn.functional.avg_pool2d(map_, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        torch.testing.assert_close(map_, blocks, rtol=1e-4, atol=1e-5)


def test_sums_of_batches_are_those_of_the_whole(problem):
    network, dataset = problem.network(), problem.datasets(0)["train"]
    with torch.no_grad():
        whole = problem.tally(problem.outputs(network, dataset.__getitems__(list(range(8)))))
        parts = [
            problem.tally(problem.outputs(network, dataset.__getitems__(rows))) for rows in ([0, 1, 2], [3, 4, 5, 6, 7])
        ]
    summed = {name: parts[0][name] + parts[1][name] for name in whole}
    assert problem.conclude(summed) == pytest.approx(problem.conclude(whole), rel=1e-4)


def test_the_truth_itself_scores_best(problem):
    batch = batch_of(problem, count=8)
    outputs = problem.outputs(problem.network(), batch)
    truth = {
        "segmentation": torch.nn.functional.one_hot(batch["segmentation"].long(), 8).movedim(3, 1).float(),
        "depth": batch["depth"],
        "normals": batch["normals"],
        "centres": 20 * batch["centres"] - 10,
    }
    for name, prediction in truth.items():
        object.__setattr__(outputs.terms[name], "prediction", prediction)
    found = problem.conclude(problem.tally(outputs))
    best = {name: 1.0 if goal == "max" else 0.0 for name, goal in problem.metrics.items()} | dict.fromkeys(SHOWN, 1.0)
    assert found == pytest.approx(best, abs=0.06)


def test_all_losses_for_pixels_train_the_segmentation(problem):
    outputs = problem.outputs(problem.network(), batch_of(problem))
    term = outputs.term("segmentation")
    for name in ("cross_entropy", "dice", "focal", "lovasz"):
        values = build_loss(name)(term.prediction, term.target)
        assert values.shape == (3,)
        assert torch.isfinite(values).all()


def test_the_picture_has_truth_and_prediction_of_each_task(problem):
    shown = problem.pictures(problem.network().eval(), batch_of(problem, count=6))
    assert shown.images.shape == (4, 9, 3, 16, 16)
    assert len(shown.titles) == 9
    assert shown.images.min() >= 0
    assert shown.images.max() <= 1
    assert shown.titles[:3] == ["picture", "segmentation", "predicted"]


def test_a_run_leaves_pictures_and_metrics(autoloss, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    autoloss(
        "train", "problem=scenes", "problem.rooms=16", "problem.side=16", "trainer.max_epochs=1", "name=s", "test=true"
    )
    place = next(Path("outputs/train/s").iterdir())
    summary = json.loads((place / "summary.json").read_text())
    assert set(summary["metrics"]) == set(summary["test_metrics"]) == METRICS
    with Image.open(place / "samples.png") as picture:
        assert picture.size == (9 * (112 + 2), 4 * (112 + 2) + 18)
    page = (place / "report.html").read_text()
    assert len(re.findall(r'<img src="data:image/png;base64,[A-Za-z0-9+/=]{1000,}"', page)) == 1


@pytest.fixture
def folder(tmp_path):
    """Writes a folder in LibMTL's form: 5 and 3 pictures of 16 x 24, with an unknown row in each target."""

    def write(*targets, classes=4):
        drawn = np.random.default_rng(0)
        for split, count in (("train", 5), ("val", 3)):
            for name in ("image", *targets):
                (tmp_path / split / name).mkdir(parents=True)
            for k in range(count):
                normal = drawn.normal(size=(16, 24, 3))
                arrays = {
                    "image": drawn.random((16, 24, 3)),
                    "label": drawn.integers(0, classes - 1, (16, 24)).astype(float),
                    "depth": 2 + drawn.random((16, 24, 1)),
                    "normal": normal / np.linalg.norm(normal, axis=2, keepdims=True),
                }
                arrays["label"][3, 3] = classes - 1
                for name, unknown in (("label", -1), ("depth", 0), ("normal", 0)):
                    arrays[name][0] = unknown
                for name in ("image", *targets):
                    np.save(tmp_path / split / name / f"{k}.npy", arrays[name])
        return str(tmp_path)

    return write


def test_nyuv2s_folder_has_three_tasks(folder):
    problem = Scenes(data=folder("label", "depth", "normal"))
    assert list(problem.terms) == ["segmentation", "depth", "normals"]
    assert set(problem.metrics) == GOALS - CENTRES
    assert (problem.classes, problem.small) == (4, (3,))
    assert 2.4 < problem.typical < 2.6
    outputs = problem.outputs(problem.network(), batch_of(problem))
    assert outputs.term("segmentation").prediction.shape == (3, 4, 16, 24)
    assert set(problem.conclude(problem.tally(outputs))) == METRICS - CENTRES
    assert problem.pictures(problem.network(), batch_of(problem)).images.shape == (3, 7, 3, 16, 24)


def test_cityscapes_folder_has_no_normals(folder):
    problem = Scenes(data=folder("label", "depth"))
    assert list(problem.terms) == ["segmentation", "depth"]
    assert "normal_mean" not in problem.metrics


def test_unknown_pixels_neither_pull_nor_count(folder):
    problem = Scenes(data=folder("label", "depth", "normal"))
    network, batch = problem.network(), batch_of(problem)
    losses = {name: build_loss(node) for name, node in loss_nodes({}, problem.terms).items()}
    outputs = problem.outputs(network, batch)
    predictions = {name: outputs.term(name).prediction for name in problem.terms}
    total = sum(losses[n](outputs.term(n).prediction, outputs.term(n).target).sum() for n in losses)
    pulls = torch.autograd.grad(total, list(predictions.values()))
    for pull in pulls:
        # The cosine of equal vectors is 1 up to rounding, and so is its slope 0.
        assert pull[:, :, 0].abs().max() < 1e-6 * pull[:, :, 1:].abs().max()
    numbers = problem.tally(outputs)
    assert numbers["segmentation"].sum() == numbers["depth"][2] == numbers["angles"][2] == 3 * 15 * 24


def test_another_loss_of_the_segmentation_starts_from_its_own_defaults(folder):
    problem = Scenes(data=folder("label"))
    nodes = loss_nodes({"segmentation": {"label_smoothing": 0.1}}, problem.terms)
    assert nodes["segmentation"] == {"name": "cross_entropy", "ignore_index": -1, "label_smoothing": 0.1}
    assert loss_nodes({"segmentation": {"name": "dice"}}, problem.terms)["segmentation"] == {"name": "dice"}


def test_a_folder_is_trained_by_the_command(autoloss, folder, tmp_path, monkeypatch):
    place = folder("label", "depth", "normal")
    monkeypatch.chdir(tmp_path)
    options = ("losses.segmentation=dice", "losses.segmentation.ignore_index=-1", "weighting=uncertainty")
    autoloss("train", "problem=scenes", f"problem.data={place}", "trainer.max_epochs=1", "name=n", *options)
    summary = json.loads((next(Path("outputs/train/n").iterdir()) / "summary.json").read_text())
    assert set(summary["metrics"]) == METRICS - CENTRES
    assert list(summary["final_weights"]) == ["segmentation", "depth", "normals"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [["weighting=graddrop"], ["weighting=auto_lambda"], ["anchor=parameters", "weighting=gradnorm"]]
)
def test_forks_look_aheads_and_parameters_work(autoloss, tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    autoloss(
        "train", "problem=scenes", "problem.rooms=16", "problem.side=16", "trainer.max_epochs=1", "name=s", *options
    )
    summary = json.loads((next(Path("outputs/train/s").iterdir()) / "summary.json").read_text())
    assert set(summary["metrics"]) == METRICS


def test_mistakes_are_said_when_it_is_built(folder, tmp_path):
    with pytest.raises(ConfigError, match="multiple of 8, at least 16, but side=20"):
        Scenes(side=20)
    with pytest.raises(ConfigError, match="at least 8, but rooms=4"):
        Scenes(rooms=4)
    with pytest.raises(ConfigError, match="has no train/image"):
        Scenes(data=str(tmp_path / "nowhere"))
    place = Path(folder("label", "depth"))
    (place / "val" / "depth" / "1.npy").unlink()
    with pytest.raises(ConfigError, match=r"files 0.npy to 2.npy, but 1.npy is missing"):
        Scenes(data=str(place))
    for path in (place / "val" / "depth").iterdir():
        path.unlink()
    (place / "val" / "depth").rmdir()
    with pytest.raises(ConfigError, match="same targets, but train has segmentation, depth, and val has segmentation"):
        Scenes(data=str(place))
    np.save(place / "train" / "image" / "0.npy", np.zeros((15, 24, 3)))
    with pytest.raises(ConfigError, match=r"multiples of 8, but they are \[15, 24, 3\]"):
        Scenes(data=str(place))
