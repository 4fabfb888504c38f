"""What Optuna's tools show of a search: telling names, a note, and each candidate's label."""

import sys
from types import ModuleType

import optuna
import pytest

import autoloss
from autoloss.core.space import Interval
from autoloss.search.dashboard import note, study_name
from autoloss.search.study import open_storage


def run(trial):
    import torch

    trial.balancer({"a": torch.tensor(1.0), "b": torch.tensor(2.0)})
    return {"error": 0.1 + abs(trial.parameters["lr"] - 0.1) + trial.seed * 1e-9}


def search(directory, **more):
    options = {"weightings": ["fixed"], "n_trials": 4, "confirm_best": 0, "directory": directory, "sampler": "random"}
    space = {"lr": Interval(0.01, 1.0, log=True)}
    return autoloss.search(run, ["a", "b"], {"error": "min"}, space=space, says=lambda _: None, **options | more)


def test_a_study_says_what_it_is(tmp_path):
    found = search(tmp_path / "mine").study
    assert found.study_name == "autoloss/mine"
    assert found.metric_names == ["score"]
    assert found.user_attrs["note"].startswith(("Use ", "Keep "))
    for trial in found.trials:
        assert trial.user_attrs["label"].split(" ")[0] == trial.user_attrs["candidate"]["weighting"]["name"]
        assert trial.user_attrs["place"] == f"trials/{trial.number:04d}-{trial.user_attrs['label'].split(' ')[0]}"


def test_several_objectives_have_their_names(tmp_path):
    assert search(tmp_path, objectives=["score", "error"], pruner="none").study.metric_names == ["score", "error"]


@pytest.mark.parametrize("name", ["autoloss", "autoloss/elsewhere"])
def test_a_search_goes_on_with_the_only_study_of_its_journal(tmp_path, name):
    storage = open_storage(None, tmp_path)
    optuna.create_study(storage=storage, study_name=name, direction="maximize")
    assert study_name(storage, tmp_path, shared=False) == name
    assert study_name(storage, tmp_path, shared=True) == f"autoloss/{tmp_path.name}"


def test_a_moved_search_goes_on(tmp_path):
    search(tmp_path / "one")
    (tmp_path / "one").rename(tmp_path / "two")
    again = search(tmp_path / "two", n_trials=5).study
    assert again.study_name == "autoloss/one"
    assert len(again.trials) == 5


def test_the_dashboard_has_the_note_where_it_is_installed(tmp_path, monkeypatch):
    kept = []
    module = ModuleType("optuna_dashboard")
    module.save_note = lambda study, text: kept.append((study.study_name, text))
    monkeypatch.setitem(sys.modules, "optuna_dashboard", module)
    monkeypatch.setattr("autoloss.search.dashboard.find_spec", lambda name: object())
    study = optuna.create_study(storage=open_storage(None, tmp_path), study_name="it")
    note(study, ["One.", "Two."])
    assert kept == [("it", "One.\n\nTwo.")]
    assert study.user_attrs["note"] == "One.\n\nTwo."
