"""The Pareto front of points, and the point on it that is the best compromise."""

from __future__ import annotations

import math
from collections.abc import Sequence

from autoloss.core.errors import require


def front(points: Sequence[Sequence[float]], goals: Sequence[str]) -> list[int]:
    """The indices of the points that no other dominates, in the order given.

    A point dominates another if it is worse in no objective and better in at least one. Equal points all stay.

    Args:
        points: Finite numbers, one for each objective.
        goals: ``"min"`` or ``"max"`` for each objective.

    >>> front([(0.2, 5.0), (0.3, 4.0), (0.3, 6.0)], ["min", "min"])
    [0, 1]
    """
    heights = _upwards(points, goals)
    kept: list[int] = []
    # In descending order only an earlier point can dominate a point, and then one that was kept does so too.
    for index in sorted(range(len(heights)), key=heights.__getitem__, reverse=True):
        if not any(_dominates(heights[other], heights[index]) for other in kept):
            kept.append(index)
    return sorted(kept)


def knee(points: Sequence[Sequence[float]], goals: Sequence[str]) -> int:
    """The index of the front's best compromise: the point farthest above the line between its extremes.

    Each objective is scaled over the front to 0 (worst) ... 1 (best). With two objectives the front's ends lie at
    (1, 0) and (0, 1), and the distance of x above the line through them is ``(x_1 + x_2 - 1) / sqrt(2)``. With m
    objectives the plane goes through the m corners that are 1 in one objective and 0 in all others, and the distance is
    ``(sum_i x_i - 1) / sqrt(m)``. The front's own extremes would not define a plane if one point is best in two
    objectives.

    The distance is positive towards the ideal point (1, ..., 1). On a front where every compromise lies below the line
    the knee is one of the ends. An objective that is equal along the front does not count. Ties (a straight front) go
    to the point whose worst objective is best, then (a front of two points) to the point that is better in the first
    objective, the second, and so on, and of equal points to the first.

    >>> knee([(0.0, 1.0), (0.9, 0.8), (1.0, 0.0)], ["max", "max"])
    1
    """
    require(len(points) > 0, "A knee needs at least one point", "there is none")
    heights = _upwards(points, goals)
    indices = front(points, goals)
    worst = [min(heights[i][axis] for i in indices) for axis in range(len(goals))]
    best = [max(heights[i][axis] for i in indices) for axis in range(len(goals))]

    def merit(index: int) -> tuple[float, ...]:
        sides = zip(heights[index], worst, best, strict=True)
        scaled = [(x - low) / (high - low) if high > low else 1.0 for x, low, high in sides]
        # Rounded, so that the last digit does not decide a tie.
        return round(sum(scaled), 9), round(min(scaled), 9), *heights[index]

    return max(indices, key=merit)


def _dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    """Whether ``one`` dominates ``other``, which is not larger in the order of tuples."""
    return one != other and all(a >= b for a, b in zip(one, other, strict=True))


def _upwards(points: Sequence[Sequence[float]], goals: Sequence[str]) -> list[tuple[float, ...]]:
    """The points, with objectives to minimise negated, so that more is better."""
    require(len(goals) > 0, "There must be at least one objective", "there is none")
    require(all(g in ("min", "max") for g in goals), "A goal must be 'min' or 'max'", f"they are {list(goals)}")
    for index, point in enumerate(points):
        good = len(point) == len(goals) and all(math.isfinite(x) for x in point)
        require(good, f"Point {index} must be {len(goals)} finite numbers", f"it is {list(point)}")
    return [tuple(float(x) if g == "max" else -float(x) for x, g in zip(p, goals, strict=True)) for p in points]
