"""One number for several metrics: how much better a run is than a reference run.

For classification the metric must be the error, not the accuracy: from an accuracy of 0.98 to 0.99 the accuracy
improves by 1 % and the error by 50 %. A mean of relative accuracies hardly depends on a task that is nearly solved, and
the choice between the two metrics changes the ranking.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from autoloss.core.errors import require

ZERO = 1e-12  # a smaller reference is 0 with a rounding error


def relative_improvement(
    metrics: Mapping[str, float], reference: Mapping[str, float], goals: Mapping[str, str]
) -> float:
    """The mean over metrics of the relative improvement over ``reference``; above 0 is better.

    ``mean_m s_m (metrics_m - reference_m) / |reference_m|`` with ``s_m`` 1 where the goal is ``"max"`` and -1
    where it is ``"min"`` (the multi-task literature's Delta_m, there in per cent). Maninis et al., CVPR 2019, eq. 4.

    For a reference of 0 (a perfect baseline, with an error of 0) there is no relative change; then the change itself
    counts, in the metric's own unit: an error of 0.02 compared with 0 is -0.02. So runs are still ranked, and this
    metric does not outweigh the others, as it would after a division by a tiny number. The result is NaN where a metric
    is NaN or there is no goal.

    Args:
        metrics: The metrics of the run; those without a goal are ignored.
        reference: The metrics of the reference run. A negative one (a log-likelihood, R2) divides by its size.
        goals: ``"min"`` or ``"max"`` for each metric that counts.

    >>> relative_improvement({"error": 0.09}, {"error": 0.1}, {"error": "min"})
    0.1
    """
    wrong = {name: goal for name, goal in goals.items() if goal not in ("min", "max")}
    require(not wrong, "A metric's goal must be 'min' or 'max'", f"it is {wrong}")
    for whose, has in (("run", metrics), ("reference", reference)):
        missing = [name for name in goals if name not in has]
        found = f"the {whose} has no {', '.join(map(repr, missing))}; it has {', '.join(map(repr, has)) or 'none'}"
        require(not missing, "Every metric with a goal must be reported", found)
    changes = []
    for name, goal in goals.items():
        size = abs(reference[name])
        change = (metrics[name] - reference[name]) / (size if size > ZERO else 1.0)
        changes.append(change if goal == "max" else -change)
    # Rounded, so that the last digit does not rank equal runs; + 0.0 turns -0.0 into 0.0.
    return round(fmean(changes), 12) + 0.0 if changes else math.nan
