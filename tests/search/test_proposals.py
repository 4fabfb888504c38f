"""Each sampler draws from its own method: its trials are not those of random search, and models find the optimum."""

import math
import pickle

import pytest
from optuna.trial import TrialState, create_trial

from autoloss.core.space import Choice, Interval
from autoloss.search.conditional import Split, with_parameters
from autoloss.search.library import search
from autoloss.search.samplers import build_sampler, sentences
from autoloss.search.search_json import importance
from autoloss.search.space import Space

TWO = Space(("a", "b"), {"equal": {}, "fixed": {}})
SEVERAL = Space(("a", "b"), {"equal": {}, "fixed": {}, "gradnorm": {"alpha": Interval(0, 3)}, "dwa": {}})


def distance(candidate, seed=0):
    weights = candidate.weighting.get("weights", {"a": 1.0, "b": 1.0})
    return 0.01 + (math.log10(weights["b"] / weights["a"]) - 1.3) ** 2


def drawn(study):
    return [dict(t.params) for t in study.trials if t.state == TrialState.COMPLETE]


@pytest.fixture
def proposals(finish, instant, tmp_path):
    def run(sampler, space=TWO, seed=0, n_trials=16):
        (tmp_path / "study.log").unlink(missing_ok=True)
        return finish(n_trials, instant(distance), space=space, sampler=sampler, seed=seed)

    return run


@pytest.mark.parametrize("space", [TWO, SEVERAL], ids=["one weighting", "several"])
def test_every_sampler_proposes_its_own(proposals, space):
    found = {name: drawn(proposals(name, space)) for name in ("random", "tpe", "gp", "cmaes", "qmc", "nsga2")}
    for name, parameters in found.items():
        others = [of for other, of in found.items() if other != name]
        assert parameters not in others, name


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["gp", "cmaes"])
def test_a_model_ends_nearer_the_optimum_than_random(proposals, sampler):
    def best(name, seed):
        return min(t.user_attrs["metrics"]["error"] for t in proposals(name, seed=seed, n_trials=40).trials)

    wins = sum(best(sampler, seed) < best("random", seed) for seed in range(10))
    assert wins >= 8


def test_the_library_gives_the_sampler_its_space(tmp_path):
    def run(trial):
        weights = trial.balancer.weights
        return {"error": 0.01 + (math.log10(weights["b"] / weights["a"]) - 1.3) ** 2}

    found = {}
    for name in ("random", "qmc", "nsga2"):
        outcome = search(
            run, ["a", "b"], {"error": "min"}, weightings=["fixed"], sampler=name, n_trials=12, confirm_best=0,
            directory=tmp_path / name, says=lambda line: None,
        )  # fmt: skip
        found[name] = drawn(outcome.study)
    assert found["qmc"] != found["random"] != found["nsga2"]


def test_a_resumed_study_draws_new_points_of_one_sequence(begin, instant):
    for n_trials in (6, 12):
        work = begin(n_trials, instant(distance), space=TWO, sampler="qmc")
        work.plan()
        work.work()
    values = [p["fixed.decades_b"] for p in drawn(work.study) if p]
    assert len(values) == len(set(values)) == 11
    # Eight successive points of a Sobol sequence: one in each eighth of the range.
    assert sorted(int((v + 2) / 4 * 8) for v in values[:8]) != [0] * 8
    assert len({int((v + 2) / 4 * 4) for v in values[:8]}) == 4


def test_each_weighting_has_its_turn_and_few_trials_say_so(begin, instant):
    work = begin(4, instant(distance), space=SEVERAL, sampler="tpe")
    work.plan(turns=True)
    work.work()
    assert [of.get("weighting") for of in drawn(work.study)] == [None, "fixed", "gradnorm", "dwa"]
    assert SEVERAL.left_out(4) == []
    assert SEVERAL.left_out(3) == [
        "Equal weights run first, then each weighting in turn: search.n_trials=3 is too few for dwa. "
        "Set search.n_trials=4 or more."
    ]


@pytest.mark.parametrize(
    ("sampler", "space", "trials", "said"),
    [
        ({"name": "gp"}, TWO, 11, "gp draws its first 10 trials at random, and search.n_trials=11 ends within them."),
        ({"name": "gp"}, TWO, 12, None),
        ({"name": "gp", "n_startup_trials": 3}, TWO, 5, None),
        ({"name": "cmaes"}, TWO, 7, "cmaes draws its first 6 trials at random"),
        ({"name": "cmaes"}, SEVERAL, 10, "cmaes draws the first 3 trials of each weighting at random"),
        ({"name": "cmaes"}, SEVERAL, 11, None),
        ({"name": "nsga2"}, TWO, 4, "nsga2 draws its first generation at random"),
    ],
)
def test_a_budget_that_ends_before_the_model_begins_is_said(sampler, space, trials, said):
    found = [line for line in sentences(sampler, space.branches, trials) if "at random" in line]
    assert len(found) == (said is not None)
    assert (said or "") in "".join(found)


def test_what_a_sampler_cannot_draw_is_said():
    mixed = Space(("a", "b"), {"equal": {}, "fixed": {}}, keys={"on": Choice((True, False))})
    assert sentences({"name": "gp"}, TWO.branches, 40) == []
    assert sentences({"name": "cmaes"}, TWO.branches, 40) == []
    (said,) = sentences({"name": "cmaes"}, mixed.branches, 40)
    assert said == "cmaes has a model of numbers for each weighting; tpe draws weighting, on."
    (said,) = sentences({"name": "nsga2", "population_size": 50}, TWO.branches, 40)
    assert "search.n_trials=40" in said


def test_a_sampler_for_each_weighting_sees_its_own_trials():
    sampler = build_sampler({"name": "gp"}, 0, 1, SEVERAL.branches)
    assert isinstance(sampler, Split)
    assert set(sampler.each) == {"fixed", "gradnorm", "dwa"}


def test_importances_come_from_what_varies(proposals):
    study = proposals("random", n_trials=20)
    done = [t for t in study.trials if t.state == TrialState.COMPLETE]
    assert importance(study, done) == {"fixed.decades_b": 1.0}
    assert len(with_parameters(study).trials) == 19


class Evil:
    """Its pickle creates a file where it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_foreign_study_unpickles_nothing(begin, instant, tmp_path):
    """Optuna keeps the state of CMA-ES in the study as a pickle, and loads it again."""
    work = begin(20, instant(distance), space=TWO, sampler="cmaes")
    work.plan()
    work.work()
    assert not [key for trial in work.study.trials for key in trial.system_attrs if "optimizer" in key]
    done = work.study.trials[-1]
    bait = create_trial(
        params=done.params,
        distributions=done.distributions,
        value=done.value,
        system_attrs={"cma:optimizer:0": pickle.dumps(Evil(tmp_path / "bait")).hex(), "cma:generation": 0},
        user_attrs=done.user_attrs,
    )
    work.study.add_trial(bait)
    begin(24, instant(distance), space=TWO, sampler="cmaes").work()
    assert not (tmp_path / "bait").exists()
    generations = [trial.system_attrs.get("cma:generation", 0) for trial in work.study.trials]
    assert max(generations) >= 2  # it learned from its trials
