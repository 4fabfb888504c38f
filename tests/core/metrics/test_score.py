"""Relative improvement: its value for a run, and references of 0."""

import math

import numpy as np
import pytest

from autoloss.core.errors import ConfigError
from autoloss.core.metrics.score import relative_improvement

GOALS = {"miou": "max", "depth": "min"}
REFERENCE = {"miou": 0.5, "depth": 0.2}


def test_it_is_the_mean_of_the_relative_changes_in_the_goals_direction():
    assert relative_improvement({"miou": 0.6, "depth": 0.19}, REFERENCE, GOALS) == pytest.approx((0.2 + 0.05) / 2)
    assert relative_improvement({"miou": 0.4, "depth": 0.3}, REFERENCE, GOALS) == pytest.approx((-0.2 - 0.5) / 2)
    assert str(relative_improvement({"depth": 0.2 + 1e-16}, REFERENCE, {"depth": "min"})) == "0.0", "not -0.0"
    assert relative_improvement(REFERENCE, REFERENCE, GOALS) == 0


def test_a_metrics_unit_does_not_matter():
    random = np.random.default_rng(0)
    for _ in range(20):
        run, reference = (dict(zip(GOALS, random.uniform(0.1, 1, 2), strict=True)) for _ in range(2))
        unit = 10.0 ** random.integers(-3, 4)
        in_unit = [{"miou": of["miou"], "depth": of["depth"] * unit} for of in (run, reference)]
        assert relative_improvement(*in_unit, GOALS) == pytest.approx(relative_improvement(run, reference, GOALS))


@pytest.mark.parametrize(("goal", "sign"), [("max", 1), ("min", -1)])
def test_a_negative_reference_counts_by_its_size(goal, sign):
    assert relative_improvement({"r2": -0.1}, {"r2": -0.2}, {"r2": goal}) == pytest.approx(sign * 0.5)


@pytest.mark.parametrize("perfect", [0.0, 1e-15, 5e-324])
def test_against_a_perfect_baseline_the_change_itself_counts(perfect):
    reference = {"error": perfect, "depth": 0.2}
    goals = {"error": "min", "depth": "min"}
    near, far = ({"error": e, "depth": 0.1} for e in (0.02, 0.3))
    assert relative_improvement(near, reference, goals) == pytest.approx((-0.02 + 0.5) / 2)
    assert relative_improvement(far, reference, goals) == pytest.approx((-0.3 + 0.5) / 2)
    assert relative_improvement(reference, reference, goals) == 0


def test_error_and_accuracy_choose_different_winners():
    reference = {"easy": 0.98, "hard": 0.60}
    runs = {"easy": {"easy": 0.99, "hard": 0.58}, "hard": {"easy": 0.97, "hard": 0.63}}
    by_accuracy = {name: relative_improvement(run, reference, dict.fromkeys(run, "max")) for name, run in runs.items()}

    def errors(accuracies):
        return {name: 1 - accuracy for name, accuracy in accuracies.items()}

    by_error = {
        name: relative_improvement(errors(run), errors(reference), dict.fromkeys(run, "min"))
        for name, run in runs.items()
    }
    assert max(by_accuracy, key=by_accuracy.get) == "hard"
    assert max(by_error, key=by_error.get) == "easy"


def test_nan_stays_nan_and_further_metrics_are_not_looked_at():
    assert math.isnan(relative_improvement({"miou": math.nan, "depth": 0.1}, REFERENCE, GOALS))
    assert math.isnan(relative_improvement(REFERENCE, REFERENCE, {}))
    assert relative_improvement({**REFERENCE, "loss": math.nan}, REFERENCE, GOALS) == 0


@pytest.mark.parametrize(
    ("run", "reference", "goals", "says"),
    [
        ({"miou": 0.5}, REFERENCE, GOALS, "the run has no 'depth'; it has 'miou'"),
        (REFERENCE, {}, GOALS, "the reference has no 'miou', 'depth'; it has none"),
        (REFERENCE, REFERENCE, {"miou": "maximum"}, "must be 'min' or 'max', but it is {'miou': 'maximum'}"),
    ],
)
def test_mistakes(run, reference, goals, says):
    with pytest.raises(ConfigError, match=says):
        relative_improvement(run, reference, goals)
