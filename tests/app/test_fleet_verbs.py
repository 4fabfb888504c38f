"""`autoloss search` and `autoloss compare` train several runs as one."""

import json
import shlex

import pytest

from autoloss.training.fleet.fleet import Fleet
from tests.app.fleets import SMALL, members, rows, worth_it

__all__ = ["members", "worth_it"]  # fixtures


def test_a_search_trains_at_once_and_finds_what_each_trial_finds_alone(autoloss, tmp_path, worth_it, members):
    more = ("search.fleet=4", "search.n_trials=7", "search.confirm=1", "search.confirm_seeds=2", "name=mine")
    done = autoloss("search", *SMALL, *more)
    assert done.returncode == 0, done.stderr
    assert sum(members) >= 4 + 4
    root = tmp_path / "outputs/search/mine"
    assert "confirmed on fresh seeds" in done.stdout
    summaries = sorted(root.glob("trials/*/summary.json"))
    assert len(summaries) == 7
    for path in summaries[1:4]:
        summary = json.loads(path.read_text())
        again = autoloss(*summary["command"][1:], f"hydra.run.dir={tmp_path / path.parent.name}")
        assert again.returncode == 0, again.stderr
        alone = json.loads((tmp_path / path.parent.name / "summary.json").read_text())
        for key in ("metrics", "final_weights"):
            assert summary[key] == pytest.approx(alone[key], rel=1e-4)
        assert summary["steps"] == alone["steps"]
        ours, theirs = rows(path.parent), rows(tmp_path / path.parent.name)
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        assert ours[-1] == pytest.approx(theirs[-1], rel=1e-3, abs=1e-6, nan_ok=True)
        for name in ("metrics.csv", "record.json", "report.html"):
            assert (path.parent / name).is_file()
    assert len(list(root.glob("confirm/*/*/confirmed.json"))) == 4
    assert shlex.split(done.stdout.rpartition("next: ")[2].splitlines()[0])[:2] == ["autoloss", "train"]


def test_the_same_command_again_trains_nothing_twice(autoloss, worth_it, members):
    command = ("search", *SMALL, "search.fleet=3", "search.n_trials=5", "search.confirm=0", "name=mine")
    assert autoloss(*command).returncode == 0
    before = len(members)
    done = autoloss(*command)
    assert done.returncode == 0, done.stderr
    assert len(members) == before
    more = autoloss(*command, "search.n_trials=7")
    assert more.returncode == 0, more.stderr
    assert more.stdout.count(" done: ") == 2


@pytest.mark.parametrize("pruner", ["successive_halving", "median"])
def test_a_pruner_acts_on_members(autoloss, tmp_path, worth_it, members, monkeypatch, pruner):
    left = []
    drop = Fleet.drop
    monkeypatch.setattr(Fleet, "drop", lambda self, gone: (drop(self, gone), left.append(stack_of(self)))[0])
    more = ("search.fleet=4", "search.n_trials=9", f"search.pruner={pruner}", "search.confirm=0", "name=mine")
    done = autoloss("search", "problem.pairs=200", "trainer.max_epochs=6", *more)
    assert done.returncode == 0, done.stderr
    assert max(members) > 1
    pruned = done.stdout.count(" pruned: ")
    assert pruned
    assert all(size == stack or not size for size, stack in left)
    # A pruned trial leaves its record up to there, and no result; the others were trained to the end.
    trials = sorted((tmp_path / "outputs/search/mine/trials").iterdir())
    summaries = [json.loads((one / "summary.json").read_text()) for one in trials if (one / "summary.json").exists()]
    assert len(trials) - len(summaries) == pruned
    assert len({one["steps"] for one in summaries}) == 1
    for one in trials:
        if not (one / "summary.json").exists():
            assert 0 < rows(one)[-1]["step"] < summaries[0]["steps"] - 1
    assert "trained one by one" not in done.stdout


def stack_of(fleet):
    """The members, and how many the stacked tensors hold."""
    return len(fleet), len(next(iter(fleet.stacked.parameters.values())))


def test_a_search_goes_on_without_a_member_whose_loss_is_not_finite(autoloss, worth_it, members):
    space = "search.space.optimizer.lr=[0.01,1e18]"
    more = ("search.fleet=4", "search.n_trials=8", "search.weightings=[fixed]", "search.confirm=0", space)
    done = autoloss("search", *SMALL, *more)
    assert done.returncode == 0, done.stderr
    assert max(members) > 1
    assert "failed: Every loss must be finite" in done.stdout
    assert done.stdout.count(" done: ") > 2


@pytest.mark.parametrize("given", ["0", "-1", "many", "1.5", "true"])
def test_a_size_that_is_none_is_one_sentence(autoloss, given):
    done = autoloss("search", *SMALL, f"search.fleet={given}")
    assert done.returncode == 2
    assert "search.fleet must be" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_comparison_trains_at_once_and_finds_the_same(autoloss, tmp_path, worth_it, members):
    command = ("compare", "problem.pairs=200", "trainer.max_epochs=2", "weighting=equal,uncertainty,gradnorm")
    one = autoloss(*command, "compare.seeds=3", "compare.fleet=1", f"hydra.run.dir={tmp_path / 'one'}")
    assert one.returncode == 0, one.stderr
    assert members == []
    many = autoloss(*command, "compare.seeds=3", f"hydra.run.dir={tmp_path / 'many'}")
    assert many.returncode == 0, many.stderr
    assert members == [9]
    for path in (tmp_path / "one").rglob("summary.json"):
        other = tmp_path / "many" / path.relative_to(tmp_path / "one")
        ours, theirs = json.loads(path.read_text()), json.loads(other.read_text())
        for key in ("metrics", "test_metrics", "final_weights"):
            assert ours[key] == pytest.approx(theirs[key], rel=1e-4)
        assert ours["command"] == theirs["command"]
    rerun = autoloss(*ours["command"][1:], f"hydra.run.dir={tmp_path / 'rerun'}")
    assert rerun.returncode == 0, rerun.stderr
    again = autoloss(*command, "compare.seeds=3", f"hydra.run.dir={tmp_path / 'many'}")
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("finished before, skipped") == 9


def test_folds_are_members_too(autoloss, worth_it, members):
    done = autoloss("compare", *SMALL, "weighting=equal,uncertainty", "compare.folds=3", "compare.fleet=8")
    assert done.returncode == 0, done.stderr
    assert members == [6]
