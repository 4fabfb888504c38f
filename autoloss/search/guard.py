"""The guard of a search: by how much a candidate may make a single metric worse."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from autoloss.core.errors import require
from autoloss.core.metrics.score import relative_improvement


def guard_of(given: Any) -> float | None:
    """The share by which a metric may get worse: 0.05 for ``5%`` or ``0.05``; ``None`` for no limit.

    >>> guard_of("5%")
    0.05
    """
    if given is None:
        return None
    text = str(given).strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = math.nan
    good = 0 <= share < 1
    require(good, "search.guard must be a share from 0% to below 100%", f"it is {given!r}", "Write search.guard=5%.")
    return share


def worst_metric(
    metrics: Mapping[str, float], baseline: Mapping[str, float], goals: Mapping[str, str]
) -> tuple[str, float]:
    """The metric with the smallest relative improvement over ``baseline``, and that improvement: below 0 if worse.

    >>> worst_metric({"a": 1.1, "b": 0.5}, {"a": 1.0, "b": 1.0}, {"a": "min", "b": "min"})
    ('a', -0.1)
    """
    each = {name: relative_improvement(metrics, baseline, {name: goal}) for name, goal in goals.items()}
    name = min(each, key=each.__getitem__)
    return name, each[name]


def allows(
    guard: float | None, metrics: Mapping[str, float], baseline: Mapping[str, float], goals: Mapping[str, str]
) -> bool:
    """Whether no metric is worse than that of ``baseline`` by more than ``guard``; true where no metric is known."""
    return guard is None or not goals or not metrics or worst_metric(metrics, baseline, goals)[1] >= -guard
