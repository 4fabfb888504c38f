"""Other loggers of Lightning get the same numbers beside TensorBoard."""

import csv
import json

import pytest
from pytorch_lightning.loggers import Logger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from autoloss.app.fleet_groups import obstacle
from autoloss.app.search_study import study_config
from autoloss.core.errors import ConfigError
from autoloss.training.lightning import loggers
from autoloss.training.lightning.loggers import other_loggers
from autoloss.training.record.tensorboard import tag_of

SHORT = ("problem=two_digits", "problem.pairs=256", "trainer.max_epochs=2", "threads=1")
NOISE = {"epoch"}


def scalars(directory):
    events = EventAccumulator(str(directory), size_guidance={"scalars": 0}).Reload()
    return {tag: {s.step: s.value for s in events.Scalars(tag)} for tag in events.Tags()["scalars"]}


class Remembering(Logger):
    """Stands for a logger whose package is not installed here."""

    made: list["Remembering"] = []

    def __init__(self, *args, **kwargs):
        super().__init__()
        self.kwargs, self.numbers, self.params = kwargs, {}, {}
        self.made.append(self)

    name = version = "remembering"

    def log_metrics(self, metrics, step=None):
        for tag, value in metrics.items():
            self.numbers.setdefault(tag, {})[step] = value

    def log_hyperparams(self, params, *args, **kwargs):
        self.params |= dict(params)


def same(found, drawn):
    """Whether both have the same curves; a logger has the epoch, which is no curve of TensorBoard's."""
    found = {tag_of(name): curve for name, curve in found.items() if name not in NOISE}
    assert set(found) == set(drawn)
    for tag, curve in drawn.items():
        assert set(found[tag]) == set(curve), tag
        assert found[tag] == pytest.approx(curve, rel=1e-5), tag


def test_a_csv_file_has_the_numbers_of_tensorboard(autoloss, tmp_path):
    done = autoloss("train", *SHORT, "weighting=gradnorm", "trainer.logger=csv", "name=it", "record.every=3")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "outputs/train/it/001"
    found = {}
    with (run / "csv/version_0/metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for tag, text in row.items():
                if tag != "step" and text:
                    found.setdefault(tag, {})[int(row["step"])] = float(text)
    drawn = scalars(run)
    assert {"1_loss_weight/left", "grad_norm/left", "val/left_error", "val_loss/left"} <= set(drawn)
    assert "epoch" not in drawn
    same(found, drawn)
    assert "weighting: gradnorm" in (run / "csv/version_0/hparams.yaml").read_text()


@pytest.mark.parametrize(("name", "of"), [("wandb", "WandbLogger"), ("mlflow", "MLFlowLogger")])
def test_others_get_them_too_where_they_are_installed(autoloss, tmp_path, monkeypatch, name, of):
    monkeypatch.setattr(loggers.loggers, of, Remembering)
    monkeypatch.setattr(loggers, "find_spec", lambda package: object())
    Remembering.made.clear()
    done = autoloss("train", *SHORT, "weighting=dwa", f"trainer.logger={name}", "name=it")
    assert done.returncode == 0, done.stderr
    (one,) = Remembering.made
    run = tmp_path / "outputs/train/it/001"
    assert str(run) in str(one.kwargs["save_dir"])
    chosen = {"problem": "two_digits", "problem.pairs": 256, "trainer.max_epochs": 2}
    assert one.params == {"weighting": "dwa", "seed": 0, **chosen}
    same(one.numbers, scalars(run))


def test_what_is_no_logger_and_what_is_not_installed_is_one_sentence(monkeypatch):
    assert other_loggers(None) == []
    assert other_loggers(["csv", "csv"]) == ["csv"]
    for wrong in ("tensorboard", True, False, ["csv", "x"], {"a": 1}):
        with pytest.raises(ConfigError, match="trainer.logger must be null, one of csv, wandb, mlflow, or a list"):
            other_loggers(wrong)
    monkeypatch.setattr(loggers, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match="needs the package wandb, but it is not installed"):
        other_loggers("wandb")


def test_a_logger_does_not_decide_what_is_trained(autoloss, tmp_path):
    """A search that began without one goes on with one; a fleet, which has none, is not asked for it."""
    done = autoloss("train", *SHORT, "name=it", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "outputs/train/it/001/summary.json").read_text())["config"]
    assert config["trainer"]["logger"] is None
    told = {**config, "trainer": {**config["trainer"], "logger": "csv"}}
    before = {**config, "trainer": {k: x for k, x in config["trainer"].items() if k != "logger"}}
    searched = [study_config({**of, "search": {}}) for of in (config, told, before)]
    assert searched[0] == searched[1] == searched[2]
    assert obstacle(told) == "trainer.logger"
    assert obstacle(config) != "trainer.logger"


def test_every_row_of_a_search_in_the_table_has_a_score(autoloss, tmp_path):
    few = ("trainer.max_epochs=1", "search.n_trials=2", "search.confirm=1", "search.confirm_seeds=2", "name=mine")
    done = autoloss("search", *few, "search.weightings=[dwa]")
    assert done.returncode == 0, done.stderr
    scores = {}
    for place in {path.parent for path in tmp_path.rglob("events.out.tfevents.*")}:
        events = EventAccumulator(str(place)).Reload()
        if any(one.plugin_data.plugin_name == "hparams" for one in events.summary_metadata.values()):
            found = [one.value for one in events.Scalars("score")] if "score" in events.Tags()["scalars"] else []
            scores[place.relative_to(tmp_path / "outputs/search/mine").as_posix()] = found
    assert scores.pop("study") == []  # it has the columns
    confirmed = {name: of for name, of in scores.items() if name.startswith("confirm/")}
    assert [len(of) for of in scores.values()] == [1] * 7
    assert len(confirmed) == 4
    equal = [of[0] for name, of in confirmed.items() if "equal" in name]
    assert sum(equal) == pytest.approx(0, abs=1e-6)  # over its own mean
    file = json.loads((tmp_path / "outputs/search/mine/search.json").read_text())
    validation = [score for row in file["confirmed"] for score in row["validation"]]
    assert sorted(of[0] for of in confirmed.values()) == pytest.approx(sorted(validation), abs=1e-6)
