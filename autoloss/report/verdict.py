"""Compares candidates with a baseline that was trained on the same seeds, and says what the seeds show.

The test is a paired t-test over the seeds, with Holm's correction for the number of candidates. It is not Wilcoxon's:
with five seeds the smallest p of that test is 0.0625. Folds of one data set share training data; the standard error is
corrected for that.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean, stdev

from scipy import special

from autoloss.core.errors import require
from autoloss.core.io.text_table import number, span

ALPHA = 0.05
POWER = 0.8
ROUNDING = 1e-11  # a deviation below this share of the scores, or of 1, is rounding: scores have 12 decimals


@dataclass(frozen=True, slots=True)
class Comparison:
    """One candidate compared with the baseline; a difference above 0 means that the candidate is better.

    The 95 % interval from ``low`` to ``high`` and ``p`` are not corrected for the number of candidates, so the interval
    may exclude 0 although ``p_corrected`` is not below 0.05. ``detectable`` is the smallest true difference that a test
    at 0.05 / ``candidates`` (Holm's first and strictest step) finds in 80 % of studies with this number of seeds, if
    the observed deviation is the true one. A difference that was not shown is always smaller. Where the seeds cannot
    show anything (one seed, or no deviation), p is 1, and the interval and ``detectable`` are infinite.
    """

    difference: float
    low: float
    high: float
    p: float
    p_corrected: float
    detectable: float
    seeds: int
    candidates: int

    @property
    def words(self) -> str:
        """``"better"``, ``"worse"`` or ``"no difference shown"``."""
        if self.p_corrected >= ALPHA:
            return "no difference shown"
        return "better" if self.difference > 0 else "worse"


def compare(
    candidates: Mapping[str, Sequence[float]], baseline: Sequence[float], overlap: float = 0.0
) -> dict[str, Comparison]:
    """Compare each candidate's scores with the baseline's, [seeds] each, in the same order of seeds; higher is better.

    ``overlap`` is 0 for seeds. For folds, whose training sets overlap, it is the ratio of test to training data,
    1 / (folds - 1). The standard error is then that of Nadeau and Bengio (Machine Learning 2003), ``s sqrt(1 / n +
    overlap)``; without this correction, five folds would give three times too many false claims.

    If the differences have a deviation of 0, the t-test would divide by it and give p = 0. Equal differences come from
    runs that ignore their seed, which are one observation n times, or from a coarse metric (the number of correct
    answers out of few), where two seeds often agree. Neither is evidence, so they count as one seed: p = 1.

    Raises :class:`ConfigError` where a candidate lacks a seed or a score is not finite.
    """
    seeds = len(baseline)
    require(seeds > 0, "A comparison needs at least one seed", "the baseline has none")
    lengths = {name: len(scores) for name, scores in candidates.items() if len(scores) != seeds}
    require(not lengths, f"Every candidate must have the baseline's seeds ({seeds})", f"some have others: {lengths}")
    everyone = [("the baseline", baseline), *((repr(name), scores) for name, scores in candidates.items())]
    bad = [f"{who} has {x} on seed {i}" for who, of in everyone for i, x in enumerate(of, 1) if not math.isfinite(x)]
    require(
        not bad,
        "Every score must be finite",
        ", ".join(bad),
        "Leave out failed candidates (seeds count from 1).",
    )
    alone = {name: _paired(scores, baseline, len(candidates), overlap) for name, scores in candidates.items()}
    corrected = holm([one.p for one in alone.values()])
    return {name: replace(one, p_corrected=p) for (name, one), p in zip(alone.items(), corrected, strict=True)}


def _paired(scores: Sequence[float], baseline: Sequence[float], candidates: int, overlap: float) -> Comparison:
    """The paired t-test, with a p that is not corrected yet."""
    differences = [float(a) - float(b) for a, b in zip(scores, baseline, strict=True)]
    mean, seeds = fmean(differences), len(differences)
    deviation = stdev(differences) if seeds > 1 else 0.0
    if deviation <= ROUNDING * max(1.0, *(abs(float(x)) for x in (*scores, *baseline))):
        return Comparison(mean, -math.inf, math.inf, 1.0, 1.0, math.inf, seeds, candidates)
    error = deviation * math.sqrt(1 / seeds + overlap)
    p = float(2 * special.stdtr(seeds - 1, -abs(mean) / error))
    half = float(special.stdtrit(seeds - 1, 1 - ALPHA / 2) * error)
    critical = special.stdtrit(seeds - 1, 1 - ALPHA / candidates / 2)
    # The shift at which noncentral t exceeds `critical` with POWER; it passes -critical in less than 1e-5 of studies.
    shift = float(special.nctdtrinc(seeds - 1, 1 - POWER, critical))
    return Comparison(mean, mean - half, mean + half, p, p, shift * error, seeds, candidates)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p values after Holm's step-down correction for their number, in the order given.

    The i-th smallest of m becomes ``max_{j <= i} min(1, (m - j + 1) p_(j))`` (Holm, Scand. J. Statist. 1979). The
    probability of at least one false claim then stays below 0.05, however the tests depend on each other.

    >>> holm([0.5, 0.0625, 0.25])
    [0.5, 0.1875, 0.5]
    """
    require(all(0 <= p <= 1 for p in p_values), "p values must lie in [0, 1]", f"they are {list(p_values)}")
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected


def sentence(name: str, comparison: Comparison, baseline: str = "equal weights") -> str:
    """The result of ``comparison`` for the candidate ``name`` as a sentence, with the numbers."""
    c, by = comparison, number(comparison.difference, "+.3g")
    if math.isinf(c.detectable):
        same = f"all {c.seeds} seeds gave the same difference, which counts as one seed"
        why = "one seed is not enough" if c.seeds == 1 else same
        return f"no difference shown: {why} ({name} compared with {baseline}: {by})."
    p = "p < 0.001" if c.p_corrected < 0.001 else f"p = {c.p_corrected:.3g}"
    holms = f" after Holm's correction for {c.candidates} candidates" if c.candidates > 1 else ""
    numbers = f"(95 % interval {span(c.low, c.high, '+.3g')}, {p}{holms}, {c.seeds} seeds)"
    if c.words != "no difference shown":
        return f"{name} is {c.words} than {baseline} by {by} {numbers}."
    power = f"{c.seeds} seeds find a true difference of {c.detectable:.2g} in {100 * POWER:.0f} % of cases"
    alone = " The interval excludes 0, but it is not corrected." if c.low > 0 or c.high < 0 else ""
    return f"no difference shown: {name} differs from {baseline} by {by} {numbers}; {power}.{alone}"
