"""A search that chooses the loss of a term together with the numbers of that loss."""

import pytest
from optuna.trial import TrialState

from autoloss.core.space import Interval, contains
from autoloss.search.output import overrides
from autoloss.search.samplers import SAMPLERS, build_sampler
from autoloss.search.space import Candidate, Space, name_and_numbers

NUMBERS = {"focal": {"gamma": Interval(0.0, 5.0)}, "poly": {"e1": Interval(-1.0, 4.0), "gamma": Interval(0.0, 1.0)}}
SPACE = Space(
    ("a", "b"), {"equal": {}, "fixed": {}}, {"a": ("mse", "focal", "poly"), "b": ("focal", "poly")}, numbers=NUMBERS
)
ONE = Space(("a",), {"equal": {}}, {"a": ("focal", "poly")}, numbers=NUMBERS)


def error(candidate, seed=0):
    """Least with ``poly`` at e1 = 3 and gamma = 0.2."""
    name, numbers = name_and_numbers(candidate.losses.get("a", "mse"))
    if name != "poly":
        return 2 + numbers.get("gamma", 9.0) / 10
    return 0.1 + (numbers["e1"] - 3) ** 2 + (numbers["gamma"] - 0.2) ** 2


def chosen(study):
    done = [t for t in study.trials if t.state == TrialState.COMPLETE and t.params]
    return [(t.params, Candidate(**t.user_attrs["candidate"])) for t in done]


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_trial_has_the_numbers_of_its_own_losses_and_no_others(finish, instant, sampler):
    found = chosen(finish(24, instant(error), space=SPACE, sampler=sampler))
    assert len(found) == 23
    for params, candidate in found:
        wanted = {"weighting", *(["fixed.decades_b"] if params["weighting"] == "fixed" else [])}
        for term, loss in candidate.losses.items():
            name, numbers = name_and_numbers(loss)
            assert numbers.keys() == NUMBERS.get(name, {}).keys()
            assert all(contains(NUMBERS[name][key], value) for key, value in numbers.items())
            wanted |= {f"losses.{term}", *(f"losses.{term}.{name}.{key}" for key in numbers)}
        assert params.keys() == wanted
        parameters = SPACE.loss_parameters(candidate.losses)
        assert parameters == {key: value for key, value in params.items() if key.startswith("losses")}
    assert {name_and_numbers(candidate.losses["a"])[0] for _, candidate in found} == {"mse", "focal", "poly"}


def test_a_sampler_with_a_model_has_one_for_each_kind_of_trial():
    sampler = build_sampler({"name": "cmaes"}, 0, 1, SPACE.branches)
    assert len(sampler.each) == SPACE.branches.kinds == 2 * 3 * 2
    plain = Space(("a", "b"), {"equal": {}, "fixed": {}}, {"a": ("mse", "mae")})
    assert plain.branches.kinds == 2
    assert "losses.a" in plain.branches.shared


@pytest.mark.parametrize("sampler", ["tpe", pytest.param("cmaes", marks=pytest.mark.slow)])
def test_a_model_ends_nearer_the_best_numbers_than_random_draws(finish, instant, tmp_path, sampler):
    def best(name, seed):
        (tmp_path / "study.log").unlink(missing_ok=True)
        study = finish(40, instant(error), space=ONE, sampler=name, seed=seed)
        return min(error(candidate) for _, candidate in chosen(study))

    wins = sum(best(sampler, seed) < best("random", seed) for seed in range(5))
    assert wins >= 4


def test_the_grid_has_each_kind_with_its_own_numbers():
    grid = list(ONE.grid(3))
    assert len(grid) == 3 + 9
    assert {frozenset(point) for point in grid if point["losses.a"] == "focal"} == {
        frozenset({"weighting", "losses.a", "losses.a.focal.gamma"})
    }
    assert len({point["losses.a.poly.e1"] for point in grid if point["losses.a"] == "poly"}) == 3


def test_a_candidate_is_written_as_the_command_line_has_it():
    candidate = Candidate({"name": "equal"}, {"a": {"name": "focal", "gamma": 1.5}, "b": "mse"})
    assert overrides(candidate) == ["weighting=equal", "losses.a=focal", "losses.a.gamma=1.5", "losses.b=mse"]
    assert candidate.label == "equal a=focal a.gamma=1.5 b=mse"
