"""What a page of a single run or of a sweep says to do."""

import math
import random
import shlex
from pathlib import Path

import pytest

from autoloss.report.intervals import paired
from autoloss.report.leaderboard import build
from autoloss.report.next_step import next_step
from autoloss.report.record import RunRecord
from autoloss.report.runs import Run
from autoloss.report.sweep_decision import sweep_decision

NOISE = (0.0, 0.01, -0.01, 0.005, -0.004)


def run(weighting, seed, error, other=0.3):
    summary = {
        "overrides": [f"weighting={weighting}", f"seed={seed}"],
        "weighting": weighting,
        "seed": seed,
        "metrics": {"error": error, "other": other},
        "goals": {"error": "min", "other": "min"},
        "mean_weight_sum": 2.0,
    }
    return Run(Path(f"{weighting}-{seed}"), summary)


def sweep(**errors):
    return build([run(name, seed, error) for name, of in errors.items() for seed, error in enumerate(of)])


def test_a_sweep_says_to_use_what_its_seeds_show_to_be_better():
    found = sweep_decision(sweep(equal=[0.5 + x for x in NOISE], auto=[0.4 - x for x in NOISE]))
    assert found.label == "auto"
    assert found.sentence.startswith("Use auto: score +0.1 (95 % interval ")
    assert [change.words for change in found.changes] == ["better", "no difference shown"]


def test_a_sweep_keeps_equal_weights_where_the_best_may_be_chance():
    # One of forty choices that differ by chance alone has an interval of its own above 0.
    noise = random.Random(2)

    def chance():
        return [0.5 + noise.gauss(0, 0.01) for _ in range(5)]

    board = sweep(equal=chance(), **{f"w{i}": chance() for i in range(40)})
    base = next(e for e in board.entrants if e.label == "equal")
    lows = [paired(e.by_seed(e.scores), base.by_seed(base.scores))[1] for e in board.entrants if e is not base]
    assert max(lows) > 0
    found = sweep_decision(board)
    assert found.kept
    assert found.label == "equal"


@pytest.mark.parametrize(
    ("errors", "said"),
    [
        ({"auto": [0.4, 0.5]}, "no run with equal weights is there to compare with. Add weighting=equal"),
        ({"equal": [0.4, 0.5]}, "nothing to compare `equal` with"),
        ({"equal": [0.5], "auto": [0.4]}, "`auto` ranks first (score +0.1), but one seed shows no difference"),
        ({"equal": [0.5, 0.4], "auto": [0.4]}, "no choice has all seeds of `equal`"),
    ],
)
def test_a_sweep_that_cannot_decide_says_what_is_missing(errors, said):
    found = sweep_decision(sweep(**errors))
    assert said in found.sentence
    assert found.sentence.startswith("Nothing is decided: ")
    assert not found.label
    assert not found.table


def test_a_sweep_that_lost_runs_tests_what_is_left_and_says_so():
    errors = [0.5 + x for x in NOISE]
    board = sweep(equal=errors[:3], auto=[x - 0.1 for x in (0.51, *errors[1:])], dwa=[0.1])
    found = sweep_decision(board)
    assert found.label == "auto"
    assert found.sentence.endswith("Not tested, since a seed is missing: `dwa`.")
    lost = build([run("auto", 0, 0.4), Run(Path("equal-0"), None, "out of memory")])
    assert "no run with equal weights finished to compare with. See why" in sweep_decision(lost).sentence


def test_runs_of_several_problems_are_not_compared():
    one, other = run("equal", 0, 0.4), run("equal", 1, 0.5)
    one.summary["problem"], other.summary["problem"] = "a", "b"
    assert "several problems (a, b)" in sweep_decision(build([one, other])).sentence


def test_a_leaderboard_of_runs_without_a_shared_metric_has_no_deviation():
    other = {"weighting": "equal", "metrics": {"x": 1.0}, "goals": {"x": "min"}, "mean_weight_sum": 1.0}
    runs = [Run(Path(f"{i}"), other | {"seed": i, "overrides": ["weighting=equal", "problem=b"]}) for i in range(2)]
    board = build([*runs, *(run("equal", seed, 0.5) for seed in range(2))])
    assert sweep_decision(board) is None
    assert all(math.isnan(e.deviation) for e in board.entrants)


def record(**summary):
    done = {"state": "finished", "weighting": "gradnorm", "metrics": {"error": 0.1}, "goals": {"error": "min"}}
    done["final_weights"] = {"a": 1.0, "b": 1.0}
    return RunRecord(Path("x"), Run(Path("x"), done | summary), {}, {}, {})


def test_a_run_names_the_command_that_tells_whether_its_weights_help():
    made = record(overrides=["problem=tabular", "problem.csv=a b.csv", "weighting=gradnorm", "seed=3", "name=x"])
    (said,) = next_step(made)
    command = shlex.split(said.split("`")[-2])
    assert command == [
        *("autoloss", "compare", "weighting=equal,gradnorm", "problem=tabular", "problem.csv=a b.csv"),
        "compare.seeds=5",
    ]
    (said,) = next_step(record(weighting="equal", overrides=["weighting=equal"]))
    assert "`autoloss compare weighting=equal,auto compare.seeds=5`" in said


def test_what_a_command_does_once_is_not_in_another():
    once = ("hydra.run.dir=here", "compare.seeds=2", "search.n_trials=3", "fresh=true", "ckpt=last", "hydra/launcher=x")
    (said,) = next_step(record(overrides=["problem=a", "weighting=dwa", *once], command=["autoloss", "train", "-m"]))
    assert "`autoloss compare weighting=equal,gradnorm problem=a compare.seeds=5`" in said


def test_what_is_a_part_of_more_or_has_one_loss_says_nothing():
    assert next_step(record(overrides=[], command=["autoloss", "search", "problem=tabular"])) == []
    assert next_step(record(overrides=[], command=["autoloss", "compare", "weighting=equal,dwa"])) == []
    assert next_step(record(overrides=[], final_weights={"odd": 1.0})) == []


def test_no_command_is_named_that_would_be_refused():
    (said,) = next_step(record(overrides=["experiment=x"], command=["autoloss", "train", "--config-dir", "conf"]))
    assert "autoloss compare" not in said
    (said,) = next_step(record(overrides=["weighting=gradnorm", "weighting.alpha=2"]))
    assert "autoloss compare" not in said
    (said,) = next_step(record())  # a person's own loop has no overrides
    assert "autoloss compare" not in said
    assert next_step(record(state="failed")) == []
    assert next_step(record(metrics={})) == []
