"""Confidence intervals of means."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from scipy import special


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
