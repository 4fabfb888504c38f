"""The order of trials, what counts, and when it ends, with a runner that trains nothing."""

import math
import time

import pytest
from optuna.trial import TrialState

from autoloss.core.errors import ConfigError
from autoloss.core.space import Interval
from autoloss.search import budget
from autoloss.search.engine import Settings
from autoloss.search.output import Outcome
from autoloss.search.space import Space

LR = {"lr": Interval(1e-3, 1e-1, log=True)}


def name_of(trial):
    return trial.user_attrs["candidate"]["weighting"]["name"]


def test_equal_weights_run_first_and_the_budget_is_exact(finish, instant):
    runner = instant()
    study = finish(10, runner)
    assert len(runner.calls) == len(study.trials) == len(budget.counted(study)) == 10
    assert runner.calls[0][0].plain() == {"weighting": {"name": "equal"}, "losses": {}, "keys": {}}
    assert study.trials[0].user_attrs["score"] == 0
    reference = study.trials[0].user_attrs["metrics"]["error"]
    for trial in study.trials:
        assert trial.value == pytest.approx((reference - trial.user_attrs["metrics"]["error"]) / reference)


def test_the_same_command_goes_on_to_a_larger_budget(finish, instant):
    finish(4)
    runner = instant()
    study = finish(9, runner)
    assert len(runner.calls) == 5
    assert len(budget.counted(study)) == 9
    assert sum(t.user_attrs.get("baseline", False) for t in study.trials) == 1


def test_equal_weights_are_never_pruned_and_others_are(finish, instant):
    error = lambda candidate, seed: 5.0 if candidate.weighting["name"] == "equal" else 1.0 + candidate.keys["lr"]  # noqa: E731
    space = Space(("a", "b"), {"equal": {}, "dwa": {}, "gradnorm": {}}, keys=LR)
    study = finish(40, instant(error, steps=9), space, pruner={"name": "median", "n_startup_trials": 1})
    first = study.trials[0]
    assert first.state == TrialState.COMPLETE
    assert first.intermediate_values == pytest.approx({s: 1 - (2 - s / 9) for s in range(1, 10)})
    assert sum(t.state == TrialState.PRUNED for t in study.trials) > 5
    assert len(budget.counted(study)) == 40
    assert all("seconds" in t.user_attrs for t in study.trials)


def test_a_trial_that_raises_counts_and_is_listed_with_its_error(finish, instant):
    lines = []

    def error(candidate, seed):
        if candidate.weighting["name"] == "gradnorm":
            raise OSError("disk on fire\nand more")
        if candidate.weighting["name"] == "dwa":
            return math.nan
        return 1.0

    study = finish(20, instant(error), says=lines.append)
    assert len(study.trials) == len(budget.counted(study)) == len(lines) == 20
    failed = {t.number: t.user_attrs["error"] for t in study.trials if t.state == TrialState.FAIL}
    assert set(failed.values()) == {"OSError: disk on fire", "Every metric must be finite, but error is nan."}
    outcome = Outcome(study, {"error": "min"}, ("score",))
    for number, sentence in failed.items():
        assert f"failed: trial {number}: {sentence}" in outcome.text()
        assert f"- failed: trial {number}: {sentence}" in outcome.markdown()
        assert sentence in outcome.csv()
        assert any(line.startswith(f"trial {number} failed: {sentence}") for line in lines)


def test_a_run_that_leaves_out_a_metric_is_an_error_of_that_trial(finish, instant):
    given = instant(
        lambda candidate, seed: {"error": 1.0} if candidate.weighting["name"] == "equal" else {"other": 1.0}
    )
    failed = [t for t in finish(3, given).trials if t.state == TrialState.FAIL]
    assert len(failed) == 2
    assert failed[0].user_attrs["error"] == "A run must report every metric, but error is missing: {'other': 1.0}."


def test_equal_weights_that_fail_end_the_search_and_run_first_when_it_goes_on(finish, begin, instant):
    def broken(candidate, seed):
        raise OSError("no data")

    with pytest.raises(ConfigError, match="equal-weights run must finish, but it failed: OSError: no data"):
        finish(5, instant(broken))
    other = begin(5)
    with pytest.raises(ConfigError, match="must finish before others are scored"):
        other.work()
    assert len(budget.counted(other.study)) == 1
    study = finish(5)
    assert len(budget.counted(study)) == 5
    assert [t.state for t in study.trials if t.user_attrs.get("baseline")] == [TrialState.FAIL, TrialState.COMPLETE]
    assert len(Outcome(study, {"error": "min"}, ("score",)).ranked) == 4


def test_equal_weights_that_were_stopped_run_before_a_queue_that_is_longer_than_the_budget(begin, instant):
    def stopped(candidate, seed):
        raise KeyboardInterrupt

    search = begin(5, instant(stopped))
    search.plan([{"weighting": "gradnorm", "gradnorm.alpha": i / 10} for i in range(9)])
    with pytest.raises(KeyboardInterrupt):
        search.work()
    runner = instant()
    again = begin(5, runner)
    again.plan()
    again.work()
    assert runner.calls[0][0].weighting == {"name": "equal"}
    assert [c.weighting.get("alpha") for c, _ in runner.calls[1:]] == [0.0, 0.1, 0.2, 0.3]
    assert len(budget.counted(again.study)) == 5


def test_final_weights_of_a_dynamic_method_are_tried_as_fixed_ones_once(finish, instant):
    runner = instant()
    study = finish(30, runner)
    offered = [t for t in study.trials if "offered" in t.user_attrs]
    assert sorted(t.user_attrs["offered"] for t in offered) == ["dwa", "gradnorm"]
    for trial in offered:
        assert trial.user_attrs["candidate"]["weighting"] == {
            "name": "fixed",
            "weights": pytest.approx({"a": 0.5, "b": 1.5}),
        }
        first = next(t.number for t in study.trials if name_of(t) == trial.user_attrs["offered"])
        assert trial.number == first + 1
    without = Space(("a", "b"), {"equal": {}, "gradnorm": {"alpha": Interval(0, 3)}})
    assert without.options == ["gradnorm"]


@pytest.mark.parametrize("n_trials", [5, 8, 19])
def test_equal_weights_get_as_many_trials_on_other_keys_as_any_weighting(finish, instant, n_trials):
    space = Space(("a", "b"), {"equal": {}, "fixed": {}, "gradnorm": {}, "dwa": {}}, keys=LR)
    names = [
        name_of(t)
        for t in finish(n_trials, instant(lambda candidate, seed: 1.0), space).trials
        if t.state.is_finished()
    ]
    assert len(names) == n_trials
    assert names.count("equal") >= max(names.count(other) for other in ("fixed", "gradnorm", "dwa"))


def test_it_ends_when_nothing_improves(finish, instant):
    errors = iter([3.0, 2.0, 1.0] + [2.5] * 100)
    study = finish(50, instant(lambda candidate, seed: next(errors)), patience=6)
    assert len(budget.counted(study)) == 3 + 6


def test_no_trial_begins_after_the_timeout(finish, instant):
    begun = time.monotonic()
    study = finish(1000, instant(lambda candidate, seed: time.sleep(0.05) or 1.0), timeout=0.4)
    assert 1 < len(budget.counted(study)) < 10
    assert time.monotonic() - begun < 5
    assert all(t.state.is_finished() for t in study.trials)


@pytest.mark.parametrize(
    ("points", "best"),
    [
        ([(0.1, 0.9), (0.0, 1.0), (0.5, 0.6), (1.0, 0.0), (0.0, 0.0), (0.8, 0.7)], [0.8, 0.7]),
        ([(0.1, 0.9), (0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0), (0.8, 0.7)], [1.0, 1.0]),
    ],
)
def test_several_objectives_give_a_front_with_its_knee_first(finish, instant, points, best):
    left = iter(points)
    runner = instant(lambda candidate, seed: dict(zip(("x", "y"), next(left), strict=True)), steps=2)
    goals = {"x": "max", "y": "max"}
    study = finish(6, runner, goals=goals, objectives=("x", "y"))
    outcome = Outcome(study, goals, ("x", "y"))
    assert outcome.ranked[0].values == best
    assert outcome.best.plain() == outcome.ranked[0].user_attrs["candidate"]
    assert sorted(map(tuple, (t.values for t in outcome.ranked))) == sorted(points)


def test_a_metric_can_be_the_objective(finish, instant):
    study = finish(6, instant(steps=3), objectives=("error",), pruner="median")
    assert study.direction.name == "MINIMIZE"
    ranked = Outcome(study, {"error": "min"}, ("error",)).ranked
    assert [t.value for t in ranked] == sorted(t.user_attrs["metrics"]["error"] for t in ranked)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"n_trials": 0}, "search.n_trials must be at least 1"),
        ({"timeout": 0}, "search.timeout must be above 0"),
        ({"patience": 0}, "search.patience must be at least 1"),
        ({"objectives": ()}, "search.objectives is empty"),
    ],
)
def test_settings_that_cannot_be(options, says):
    with pytest.raises(ConfigError, match=says):
        Settings(**options)
