"""Confidence intervals of means."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import fmean, stdev

from scipy import special

ROUNDING = 1e-12  # a deviation below this share of the values is a rounding error


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """The mean of ``values`` and its 95 % interval by Student's t; the ends are NaN for one value.

    >>> [round(x, 3) for x in interval([1.0, 2.0, 3.0])]
    [2.0, -0.484, 4.484]
    """
    known = [x for x in values if math.isfinite(x)]
    if not known:
        return math.nan, math.nan, math.nan
    mean = fmean(known)
    if len(known) < 2:
        return mean, math.nan, math.nan
    half = float(special.stdtrit(len(known) - 1, 0.975)) * stdev(known) / math.sqrt(len(known))
    return mean, mean - half, mean + half


def paired(values: Mapping[Hashable, float], base: Mapping[Hashable, float]) -> tuple[float, float, float]:
    """The mean difference of ``values`` to ``base`` over the seeds that both have, and its 95 % interval.

    It is the interval of the paired t-test. The ends are NaN for fewer than two shared seeds, and for differences
    without a deviation, which count as one seed (as in :func:`autoloss.report.verdict.compare`).

    >>> [round(x, 3) for x in paired({0: 2.0, 1: 4.0, 2: 6.0}, {0: 1.0, 1: 2.0, 2: 3.0})]
    [2.0, -0.484, 4.484]
    """
    shared = [seed for seed in values if seed in base]
    mean, low, high = interval([values[seed] - base[seed] for seed in shared])
    largest = max((abs(x) for seed in shared for x in (values[seed], base[seed])), default=0.0)
    if not high - low > ROUNDING * largest:
        return mean, math.nan, math.nan
    return mean, low, high
