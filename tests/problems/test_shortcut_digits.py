"""Digits whose frame is a shortcut: what the groups are, and what a network makes of it."""

import json

import pytest
import torch

from autoloss.core.errors import AutolossError
from autoloss.problems.shortcut_digits import GROUPS, ShortcutDigits

FEW = ("problem=shortcut_digits", "trainer.max_epochs=2")


def test_two_groups_are_small_in_training_and_none_is_in_validation():
    data = ShortcutDigits(agree=0.95).datasets(0)
    train, val = (torch.bincount(data[split].columns["group"], minlength=4) for split in ("train", "val"))
    assert train.sum() == 1000
    assert (train[[1, 2]] < 45).all()
    assert (train[[1, 2]] > 10).all()
    assert val[0] == val[1]
    assert val[2] == val[3]
    assert val.sum() == 700


def test_the_frame_is_bright_where_the_group_says_so():
    columns = ShortcutDigits(bright=0.7).datasets(3)["train"].columns
    edge = columns["image"].view(-1, 10, 10)[:, 0]
    bright = torch.tensor([name.endswith("bright") for name in GROUPS])[columns["group"]]
    odd = torch.tensor([name.startswith("odd") for name in GROUPS])[columns["group"]]
    assert torch.equal(edge, torch.where(bright, 0.7, 0.0)[:, None].expand(-1, 10))
    assert torch.equal(odd.long(), columns["odd"])


def test_wrong_parameters_are_sentences():
    with pytest.raises(AutolossError, match="`agree` must lie in"):
        ShortcutDigits(agree=1.0)


@pytest.mark.parametrize(
    ("given", "losses"),
    [
        (["losses.odd.by=group"], [f"odd_{name}" for name in GROUPS]),
        (["group_by=group"], ["odd"]),
        (["losses.odd.by=group", "losses.odd.groups=[a,b,c,d]", "base.odd_b=3"], ["odd_a", "odd_b", "odd_c", "odd_d"]),
    ],
)
def test_groups_on_the_command_line(autoloss, tmp_path, given, losses):
    done = autoloss("train", *FEW, *given, "name=a")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "outputs/train/a/001/summary.json").read_text())
    assert list(summary["final_weights"]) == losses
    groups = [name for name in summary["metrics"] if name.startswith("error_") and name != "error_worst"]
    # As the losses, metrics have the names that the groups are given.
    own = [name.removeprefix("odd_") for name in losses if name != "odd"]
    assert groups == [f"error_{name}" for name in own] if own else len(groups) == 4
    assert summary["metrics"]["error_worst"] == max(summary["metrics"][name] for name in groups)
    assert set(summary["goals"]) == {"error", "error_worst"}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("losses.odd.by=gruop", "The groups of 'gruop' must have names"),
        ("losses.odd.by=index losses.odd.groups=[a,b]", "must be numbered from 0 to 1 (a, b), but a sample has 2"),
        ("losses.odd.by=group losses.odd.groups=[a,b,c,d,e]", "must have training samples, but e has none"),
        ("losses.odd.by=group weighting=graddrop", "cannot meet in a fork"),
    ],
)
def test_mistakes_are_sentences(mistaken, given, message):
    code, _, err = mistaken(f"train problem=shortcut_digits {given}")
    assert code == 2
    assert message in err


@pytest.mark.filterwarnings("ignore::autoloss.core.errors.EmptySelectionWarning")
def test_a_fleet_of_groups_gives_what_each_run_gives_alone(tmp_path, monkeypatch):
    from autoloss.app.composition import composed
    from autoloss.app.fleet_request import Request
    from autoloss.app.fleet_runs import FleetRuns
    from autoloss.app.overrides import rewritten
    from autoloss.app.train_one import train

    monkeypatch.setattr("autoloss.training.fleet.price.LIGHTNING", 1e9)

    def given(name, *overrides):
        whole = [*FEW, "losses.odd.by=group", "trainer.accelerator=cpu", "checkpoint.every=0", *overrides]
        return Request(composed("train", rewritten(whole)), tmp_path / name, overrides, name)

    said = []
    kinds = [("weighting=worst_k", "seed=0"), ("weighting=excess", "seed=1")]
    together = FleetRuns(says=said.append).train([given(f"fleet{i}", *kind) for i, kind in enumerate(kinds)])
    assert said == []
    for i, kind in enumerate(kinds):
        request = given(f"alone{i}", *kind)
        alone = train(request.config, request.directory)
        assert together[i]["metrics"] == pytest.approx(alone["metrics"], abs=5e-3)
        assert together[i]["final_weights"] == pytest.approx(alone["final_weights"], abs=1e-3)
