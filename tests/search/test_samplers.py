"""Every sampler and pruner runs a whole small study; combinations that cannot work are refused before."""

import pytest
from optuna.trial import TrialState

from autoloss.core.errors import ConfigError, UnknownNameError
from autoloss.core.space import Choice, Interval, Range
from autoloss.search import budget
from autoloss.search.samplers import PRUNERS, SAMPLERS, build_pruner, build_sampler
from autoloss.search.space import Space

MIXED = Space(
    ("a", "b"),
    {"equal": {}, "fixed": {}, "gradnorm": {"alpha": Interval(0, 3)}},
    {"a": ("mse", "mae")},
    {"lr": Interval(1e-4, 1e-2, log=True), "n": Range(1, 4), "on": Choice((True, False))},
)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_every_sampler_runs_a_conditional_space(finish, sampler):
    study = finish(16, space=MIXED, sampler=sampler)
    done = budget.counted(study)
    assert len(done) == 16
    assert {t.state for t in done} == {TrialState.COMPLETE}
    assert len({t.user_attrs["label"] for t in done}) > 8


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "gp", "qmc"])
def test_every_sampler_for_several_objectives_runs_them(finish, instant, sampler):
    runner = instant(lambda candidate, seed: {"x": len(candidate.label), "y": -len(candidate.label) % 7})
    study = finish(14, runner, goals={"x": "max", "y": "min"}, objectives=("x", "y"), sampler=sampler)
    assert len(budget.counted(study)) == 14


@pytest.mark.parametrize("pruner", sorted(PRUNERS))
def test_every_pruner_runs(finish, instant, pruner):
    study = finish(30, instant(steps=9), pruner=pruner, folds=9)
    states = [t.state for t in budget.counted(study)]
    assert len(states) == 30
    assert states[0] == TrialState.COMPLETE
    assert (TrialState.PRUNED in states) == (pruner != "none")


def test_a_seed_makes_the_search_again(finish, tmp_path):
    labels = [t.user_attrs["label"] for t in finish(6, space=MIXED, sampler="tpe").trials]
    (tmp_path / "study.log").unlink()
    assert [t.user_attrs["label"] for t in finish(6, space=MIXED, sampler="tpe").trials] == labels


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: build_sampler({"name": "tpee"}, 0, 1), "No sampler is called 'tpee'. Did you mean 'tpe'?"),
        (lambda: build_sampler({"name": "tpe", "speed": 1}, 0, 1), "Sampler 'tpe' must be given its own options"),
        (lambda: build_sampler({"name": "cmaes"}, 0, 2), "search.sampler is cmaes"),
        (lambda: build_pruner({"name": "medain"}, 1, 0), "No pruner is called 'medain'. Did you mean 'median'?"),
        (lambda: build_pruner({"name": "median"}, 2, 0), "Pruning needs one objective, but there are 2"),
        (lambda: build_pruner({"name": "wilcoxon"}, 1, 0), "The Wilcoxon pruner compares folds"),
        (lambda: build_pruner({"name": "median", "x": 1}, 1, 0), "Pruner 'median' must be given its own options"),
    ],
)
def test_what_does_not_fit_is_one_sentence(make, says):
    with pytest.raises((ConfigError, UnknownNameError)) as error:
        make()
    assert says in str(error.value)
