"""What a search may choose: fixed weights that sum to K, and their inverse."""

import itertools
import random

import optuna
import pytest
from omegaconf import OmegaConf

from autoloss.app.composition import composed
from autoloss.app.config_source import conf_dir
from autoloss.core.errors import ConfigError
from autoloss.core.registry.lookup import registry
from autoloss.core.space import Choice, Interval, Range
from autoloss.search.library import WEIGHTINGS
from autoloss.search.output import overrides
from autoloss.search.space import Candidate, Space, normalising
from autoloss.training.step.build import build_weighting


def space(decades=2.0, terms=("a", "b", "c"), **more):
    return Space(terms, {"equal": {}, "fixed": {}, "gradnorm": {"alpha": Interval(0, 3)}}, decades=decades, **more)


def drawn(of, count=200):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(count):
        trial = study.ask()
        yield trial, of.suggest(trial)


@pytest.mark.parametrize("decades", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("terms", [("a",), ("a", "b"), ("a", "b", "c", "d", "e")])
def test_fixed_weights_sum_to_k_and_lie_within_the_decades_of_the_first(decades, terms):
    seen = 0
    for _, candidate in drawn(space(decades, terms)):
        if candidate.weighting["name"] == "fixed":
            weights = candidate.weighting["weights"]
            seen += 1
            assert tuple(weights) == terms
            assert sum(weights.values()) == pytest.approx(len(terms))
            assert all(10**-decades * 0.999 <= w / weights["a"] <= 10**decades * 1.001 for w in weights.values())
    assert seen > 50


def test_static_parameters_are_the_numbers_that_the_candidate_was_made_from():
    for trial, candidate in drawn(space()):
        if candidate.weighting["name"] == "fixed":
            numbers = {k: v for k, v in trial.params.items() if k.startswith("fixed.")}
            assert space().static_parameters(candidate.weighting["weights"]) == pytest.approx(numbers, abs=1e-9)
            scaled = {name: 7 * w for name, w in candidate.weighting["weights"].items()}
            assert space().static_parameters(scaled) == pytest.approx(numbers, abs=1e-9)


def test_weights_beyond_the_range_and_of_zero_are_moved_into_it():
    assert space().static_parameters({"a": 1, "b": 0, "c": 1e9}) == {"fixed.decades_b": -2.0, "fixed.decades_c": 2.0}
    assert space().static_parameters({"a": 0, "b": 1, "c": 0})["fixed.decades_c"] == 0


def test_equal_weights_are_chosen_again_only_where_something_else_varies():
    assert "equal" not in space().options
    assert "equal" in space(keys={"lr": Interval(1, 2)}).options
    assert "equal" in space(losses={"a": ("mse", "mae")}).options
    both = [
        c for _, c in drawn(space(losses={"a": ("mse", "mae")}, keys={"n": Range(1, 3), "on": Choice((True, False))}))
    ]
    assert {c.losses["a"] for c in both} == {"mse", "mae"}
    assert {c.keys["n"] for c in both} == {1, 2, 3}
    assert {"alpha", "name"} == set(next(c.weighting for c in both if c.weighting["name"] == "gradnorm"))


def test_the_grid_has_every_combination_once():
    of = space(keys={"lr": Interval(1e-4, 1e-2, log=True), "n": Range(1, 2)})
    grid = list(of.grid(3))
    assert len(grid) == (1 + 9 + 3) * 3 * 2
    assert len({tuple(sorted(point.items())) for point in grid}) == len(grid)
    assert sorted({point["lr"] for point in grid}) == pytest.approx([1e-4, 1e-3, 1e-2])
    fixed = {tuple(point[f"fixed.decades_{t}"] for t in "bc") for point in grid if point["weighting"] == "fixed"}
    assert fixed == set(itertools.product([-2.0, 0.0, 2.0], repeat=2))


def test_a_label_says_what_was_chosen():
    of = space()
    made = of.candidate(
        "fixed", {"decades_b": 1.0, "decades_c": random.Random(0).choice([-1.0])}, {"a": "mse"}, {"lr": 0.0123}
    )
    assert made.label == "fixed (a 0.27, b 2.7, c 0.027) a=mse lr=0.0123"


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Space(("a",), {}), "search.weightings is empty"),
        (lambda: Space(("a",), {"equal": {}}), "the only weighting is 'equal' and no key varies"),
        (lambda: space(decades=0), "search.decades must be above 0"),
    ],
)
def test_an_empty_space_is_an_error(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


def test_weights_with_a_free_scale_are_normalised_and_others_are_as_they_are():
    names = ["equal", "fixed", "gradnorm", "uncertainty", "graddrop", "auto"]
    assert normalising(names) == {"uncertainty": ["normalise"]}
    of = Space(("a", "b"), {"equal": {}, "uncertainty": {}}, wrap={"uncertainty": [{"every_n": {"n": 2}}, "normalise"]})
    ((_, candidate),) = drawn(of, 1)
    assert candidate.label == "uncertainty every_n normalise"
    assert overrides(candidate) == ["weighting=uncertainty", "weighting.wrap=[{every_n:{n:2}},normalise]"]
    config = composed("train", overrides(candidate))
    assert build_weighting(config["weighting"]).bind(("a", "b")).title() == "normalise"


def test_a_wrapper_has_its_name_in_the_label_however_it_is_written():
    candidate = Candidate({"name": "dwa", "wrap": ["ema", {"every_n": {"n": 2}}, {"name": "clamp", "low": 0.1}]})
    assert candidate.label == "dwa ema every_n clamp"


def test_the_first_trial_of_a_weighting_has_its_default_numbers():
    names = ["auto", "gradnorm", "dwa", "rlw", "lr_annealing"]
    of = {name: dict(registry.load("weighting", name).search_space) for name in names}
    space = Space(("a", "b"), {**of, "fixed": {}, "equal": {}})
    assert space.first("auto") == {"auto.norm": 0.5}
    assert space.first("gradnorm") == {"gradnorm.alpha": 1.5}
    assert space.first("rlw") == {"rlw.distribution": "normal"}
    assert space.first("fixed") == {}
    # A default that lies outside of the search's own interval is left to the sampler.
    narrow = Space(("a", "b"), {"dwa": {"temperature": Interval(5.0, 10.0)}})
    assert narrow.first("dwa") == {}


def test_a_study_begins_with_equal_weights_and_with_the_default_of_each_weighting(begin):
    of = {name: dict(registry.load("weighting", name).search_space) for name in ("auto", "gradnorm")}
    work = begin(3, space=Space(("a", "b"), of))
    work.plan(turns=True)
    work.work()
    first, *others = [trial.user_attrs["candidate"]["weighting"] for trial in work.study.trials]
    assert first["name"] == "equal"
    assert [(one["name"], one.get("norm", one.get("alpha"))) for one in others] == [("auto", 0.5), ("gradnorm", 1.5)]


def test_every_search_tries_auto_and_autoscale_after_equal_weights():
    default = OmegaConf.to_container(OmegaConf.load(conf_dir() / "search.yaml"))["search"]["weightings"]
    assert tuple(default) == WEIGHTINGS
    space = Space(("a", "b"), {name: dict(registry.load("weighting", name).search_space) for name in default})
    assert space.turns[:2] == ["auto", "autoscale"]
    assert space.first("autoscale") == {"autoscale.steps": 200}
