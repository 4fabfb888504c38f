"""The front compared with a check of every pair, and the knee with the distance from a line."""

import math

import numpy as np
import pytest

from autoloss.core.errors import ConfigError
from autoloss.core.metrics.pareto import front, knee

SIGNS = {"max": 1, "min": -1}


def clouds():
    """Random points, some on a coarse grid so that coordinates and whole points coincide."""
    random = np.random.default_rng(0)
    for number in range(400):
        count, axes = random.integers(1, 30), random.integers(1, 5)
        points = random.normal(size=(count, axes))
        yield np.round(points) if number % 2 else points, list(random.choice(["min", "max"], axes))


def brute(points, goals):
    high = points * [SIGNS[g] for g in goals]
    at_least = (high[:, None] >= high[None]).all(-1)
    more = (high[:, None] > high[None]).any(-1)
    return np.flatnonzero(~(at_least & more).any(0)).tolist()


def test_the_front_is_what_no_pair_rules_out():
    sizes = []
    for points, goals in clouds():
        found = front(points.tolist(), goals)
        assert found == brute(points, goals)
        sizes.append(len(found))
    assert min(sizes) == 1 < max(sizes)


def test_the_knee_of_two_objectives_is_farthest_above_the_line_through_the_ends():
    interior = 0
    for points, goals in clouds():
        if len(goals) != 2:
            continue
        indices = brute(points, goals)
        high = points[indices] * [SIGNS[g] for g in goals]
        if len(np.unique(high, axis=0)) < 3:
            continue
        unit = (high - high.min(0)) / np.ptp(high, axis=0)
        first, last = unit[unit[:, 0].argmax()], unit[unit[:, 1].argmax()]
        along = last - first
        above = (along[1] * (unit - first)[:, 0] - along[0] * (unit - first)[:, 1]) / np.hypot(*along)
        assert above[indices.index(knee(points.tolist(), goals))] == pytest.approx(above.max())
        interior += above.max() > 1e-9
    assert interior > 10


def test_units_directions_and_beaten_points_do_not_move_front_and_knee():
    random = np.random.default_rng(1)
    for points, goals in clouds():
        axes = len(goals)
        expected = front(points.tolist(), goals), knee(points.tolist(), goals)
        scaled = points * random.uniform(0.1, 9, axes) + random.normal(size=axes)
        assert (front(scaled.tolist(), goals), knee(scaled.tolist(), goals)) == expected
        turned = [{"min": "max", "max": "min"}[g] for g in goals]
        assert (front((-points).tolist(), turned), knee((-points).tolist(), turned)) == expected
        beaten = points - np.array([SIGNS[g] for g in goals]) * random.uniform(0.1, 5, points.shape)
        more = np.concatenate([points, beaten]).tolist()
        assert (front(more, goals), knee(more, goals)) == expected


def test_the_order_of_the_points_does_not_matter():
    random = np.random.default_rng(2)
    for points, goals in clouds():
        order = random.permutation(len(points))
        assert sorted(order[front(points[order].tolist(), goals)]) == front(points.tolist(), goals)
        best = order[knee(points[order].tolist(), goals)]
        assert points[best].tolist() == points[knee(points.tolist(), goals)].tolist()


@pytest.mark.parametrize(
    ("points", "goals", "kept", "best"),
    [
        ([(1.0, 2.0)], ["min", "max"], [0], 0),
        ([(1.0, 2.0), (2.0, 1.0)], ["max", "max"], [0, 1], 1),
        ([(1.0, 1.0)] * 3, ["min", "min"], [0, 1, 2], 0),
        ([(5.0,), (3.0,), (3.0,), (4.0,)], ["min"], [1, 2], 1),
        # A straight front: the middle. One that bends inwards: an end.
        ([(0.0, 3.0), (1.0, 2.0), (1.5, 1.5), (3.0, 0.0)], ["max", "max"], [0, 1, 2, 3], 2),
        ([(0.0, 1.0), (0.1, 0.2), (1.0, 0.0)], ["min", "max"], [0], 0),
        ([(0.0, 1.0), (0.1, 0.2), (1.0, 0.0)], ["max", "max"], [0, 1, 2], 2),
        ([(0.0, 10.0), (0.2, 3.0), (1.0, 0.0)], ["min", "min"], [0, 1, 2], 1),
        # Best in two of three objectives, where the extremes span no plane.
        ([(0.0, 0.0, 1.0), (1.0, 1.0, 0.0)], ["max", "max", "max"], [0, 1], 1),
        # The middle objective does not differ, and hides no tie.
        ([(0.0, 7.0, 1.0), (0.9, 7.0, 0.7), (0.8, 7.0, 0.8), (1.0, 7.0, 0.0)], ["max", "min", "max"], [0, 1, 2, 3], 2),
        ([(0.0, 7.0, 1.0), (0.9, 7.0, 0.9), (1.0, 7.0, 0.0)], ["max", "min", "max"], [0, 1, 2], 1),
    ],
)
def test_values(points, goals, kept, best):
    assert front(points, goals) == kept
    assert knee(points, goals) == best


def test_mistakes():
    assert front([], ["min"]) == []
    for call, says in [
        (lambda: knee([], ["min"]), "at least one point"),
        (lambda: front([(1.0,)], []), "at least one objective"),
        (lambda: front([(1.0,)], ["lower"]), "must be 'min' or 'max'"),
        (lambda: front([(1.0, 2.0), (1.0,)], ["min", "min"]), "Point 1 must be 2 finite numbers"),
        (lambda: knee([(math.nan,)], ["min"]), "Point 0 must be 1 finite numbers"),
    ]:
        with pytest.raises(ConfigError, match=says):
            call()
