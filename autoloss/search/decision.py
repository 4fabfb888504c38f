"""What a search decides: to keep the simplest candidate or to use the winner, and what that does to each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from autoloss.core.io.text_table import number, span
from autoloss.report.decision import NOT_SHOWN, Decision, MetricChange, harmed_words, means, metric_changes, used_words
from autoloss.search.confirm import winner
from autoloss.search.guard import allows, worst_metric
from autoloss.search.runner import TEST, Confirmed


def decide(
    confirmed: Sequence[Confirmed], goals: Mapping[str, str], named: Mapping[int, str], guard: float | None = None
) -> Decision:
    """The decision about ``confirmed``, the baseline first; ``named`` are their names by trial.

    The best on validation data of those that ``guard`` allows there is used if the comparison says that it is better,
    and ``guard`` allows it on the comparison's data too. Otherwise the baseline is kept: where no difference is shown,
    the simplest is right. So test data can refuse the winner, and never choose another one.
    """
    base, best = confirmed[0], winner(confirmed, goals, guard)
    data = "test" if base.split == TEST else "validation"
    each = () if best is base else changes(best, base, goals)
    c = best.comparison
    allowed = best is base or allows(guard, means(best.metrics), means(base.metrics), goals)
    used = best if c is not None and c.words == "better" and allowed else base
    harmed = harmed_words(each)
    if used is best and c is not None:
        said = used_words(named[best.trial], c, f"{c.seeds} seeds, {data} data", harmed)
    else:
        said = f"Keep {named[base.trial]}: {_why_kept(best, base, goals, guard, named[best.trial], data)}"
        said += f"; with it {harmed}" if harmed and c is not None and c.words == NOT_SHOWN else ""
    return Decision(
        f"{said}.",
        named[used.trial],
        used.trial,
        used is base,
        True,
        data,
        named[best.trial],
        named[base.trial],
        each,
        used.final_weights,
    )


def changes(one: Confirmed, base: Confirmed, goals: Mapping[str, str]) -> tuple[MetricChange, ...]:
    """How each metric of ``one`` differs from that of ``base``, on the data that the verdict compares."""
    return metric_changes(one.metrics, base.metrics, goals)


def _why_kept(
    best: Confirmed, base: Confirmed, goals: Mapping[str, str], guard: float | None, name: str, data: str
) -> str:
    c, limit = best.comparison, "" if guard is None else f"{100 * guard:g} %"
    if c is None:
        guarded = f" without making a metric worse by more than {limit}" if limit else ""
        return f"no other candidate is better on validation data{guarded}"
    if c.words == "better":
        worst, change = worst_metric(means(best.metrics), means(base.metrics), goals)
        return f"{name} makes {worst} {-100 * change:.0f} % worse on {data} data, and search.guard allows {limit}"
    if c.words == "worse":
        return f"{name}, the best on validation data, is worse on {data} data"
    interval = "" if math.isinf(c.low) else f"95 % interval {span(c.low, c.high, '+.2g')}, "
    by = number(c.difference, "+.2g")
    return f"no difference to {name} is shown (score {by}, {interval}{c.seeds} seeds, {data} data)"
