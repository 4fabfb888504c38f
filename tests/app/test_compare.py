"""`autoloss compare`: every choice on the same seeds or folds, and a test."""

import json
import re

import pytest

from autoloss.report import read

SMALL = ("trainer.max_epochs=1", "problem.pairs=200")


def test_choices_are_compared_seed_by_seed_and_finished_runs_are_kept(autoloss, tmp_path):
    command = ("compare", "weighting=equal,gradnorm", "compare.seeds=2", *SMALL)
    first = autoloss(*command)
    assert first.returncode == 0, first.stderr
    board = next(tmp_path.rglob("leaderboard.md")).read_text()
    assert "| equal | 2 | +0.0000 | - | - |" in board
    assert "| gradnorm | 2 |" in board
    assert "on test data, paired by seed" in first.stdout
    assert sorted(p.parent.name for p in tmp_path.rglob("summary.json")) == ["seed_0", "seed_0", "seed_1", "seed_1"]
    found = json.loads(next(tmp_path.rglob("compare.json")).read_text())["decision"]
    assert f"\n\n{found['sentence']}\n\nmetric on test data" in first.stdout
    assert re.match(
        r"Use gradnorm: score \+.* test data\)|Keep equal: no other choice is shown to be better\.", found["sentence"]
    )
    assert [row[0] for row in found["table"]] == ["metric on test data", "left_error", "right_error", "pixels_mse"]
    assert found["table"][0][1:3] == ["equal", "gradnorm"]
    page = read(next(tmp_path.rglob("compare.json")).parent)
    assert page.sentences[0] == found["sentence"]
    again = autoloss(*command)
    assert again.stdout.count("skipped") == 4
    more = autoloss("compare", "weighting=equal,gradnorm", "compare.seeds=3", *SMALL)
    assert more.stdout.count("skipped") == 4


def test_any_axis_and_folds(autoloss, tmp_path):
    done = autoloss("compare", "losses.left=cross_entropy,focal", "compare.folds=2", *SMALL)
    assert done.returncode == 0, done.stderr
    assert "losses.left=focal" in done.stdout
    assert "on validation data" in done.stdout
    assert len(list(tmp_path.rglob("fold_1/summary.json"))) == 2


def test_a_failed_choice_is_listed(autoloss, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from autoloss import Weighting\n"
        "class Broken(Weighting):\n"
        "    def forward(self, signals):\n        raise OSError('disk on fire')\n"
    )
    done = autoloss("compare", "weighting=equal,mine:Broken", "compare.seeds=1", *SMALL)
    assert done.returncode == 1
    assert "failed: mine:Broken, seed_0" in done.stdout
    assert "disk on fire" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("weighting=equal", "A comparison needs an axis, but nothing is swept."),
        ("weighting=equal,dwa seed=0,1", "but seed is swept. Set compare.seeds=5."),
        ("weighting=equal,dwa compare.seeds=0", "compare.seeds must be at least 1, but it is 0."),
        ("weighting=equal,dwa compare.baseline=mgda", "must be one of the choices, but 'mgda' is not among"),
        ("weighting=equal,dwaa", "No weighting is called 'dwaa'. Did you mean 'dwa'?"),
    ],
)
def test_mistakes(mistaken, arguments, says):
    code, out, err = mistaken(f"compare {arguments}")
    assert (code, out) == (2, "")
    assert says in err
    assert err.count("\n") == 1


def test_keys_that_are_added_are_choices_too(autoloss):
    done = autoloss(
        "compare", "problem=two_digits", "problem.pairs=64", "trainer.max_epochs=1", "constraints.left.max=1,2",
        "compare.seeds=2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "constraints.left.max=1" in done.stdout
    assert "constraints.left.max=2" in done.stdout
