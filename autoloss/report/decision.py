"""What a comparison decides: to keep the baseline or to use another choice, and what that does to each metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

from autoloss.core.io.text_table import aligned, number, span
from autoloss.core.metrics.score import relative_improvement
from autoloss.report.verdict import ROUNDING, Comparison, compare

Values = Mapping[str, Sequence[float]]  # of each metric: one for each seed, in one order
NOT_SHOWN = "no difference shown"


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric of the best candidate beside that of the baseline, on the data of the verdict.

    ``baseline`` and ``value`` are means over the seeds, in the metric's unit. ``change`` is the mean relative
    improvement over the baseline's mean, above 0 where the metric is better (for a baseline of 0 the change itself).
    ``low`` and ``high`` are its 95 % interval, paired by seed, and ``p`` has Holm's correction for the number of
    metrics. ``words`` is ``"better"``, ``"worse"`` or ``"no difference shown"``, at 0.05.
    """

    metric: str
    baseline: float
    value: float
    change: float
    low: float
    high: float
    p: float
    words: str

    @property
    def text(self) -> str:
        """The change in words: ``24 % worse``, or ``3 % better (noise)`` where the seeds do not show it."""
        if abs(self.change) < ROUNDING:
            return "the same"
        share = f"{100 * abs(self.change):.2g} %" if abs(self.change) < 0.1 else f"{100 * abs(self.change):.0f} %"
        size = share if self.baseline else f"{abs(self.change):.2g}"
        said = f"{size} {'better' if self.change > 0 else 'worse'}"
        return f"{said} (noise)" if self.words == NOT_SHOWN else said

    @property
    def row(self) -> list[str]:
        """The cells of a table: metric, equal weights, candidate, change, interval."""
        interval = (
            "" if math.isinf(self.low) else f"{number(100 * self.low, '+.3g')} % to {number(100 * self.high, '+.3g')} %"
        )
        return [self.metric, number(self.baseline, ".4g"), number(self.value, ".4g"), self.text, interval]


@dataclass(frozen=True, slots=True)
class Decision:
    """What to use after a search: the candidate of ``trial``, called ``label``; ``sentence`` says it and why.

    ``kept`` says that it is the baseline. ``changes`` compare the candidate ``compared``, the best on validation data,
    with the baseline ``against`` on ``data``, also where the baseline is kept. Without a confirmation there are none,
    and ``confirmed`` is false. ``final_weights`` are means over the seeds.
    """

    sentence: str
    label: str
    trial: int
    kept: bool
    confirmed: bool
    data: str = ""
    compared: str = ""
    against: str = ""
    changes: tuple[MetricChange, ...] = ()
    final_weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def table(self) -> list[list[str]]:
        """The changes as a header and rows of text; empty without any."""
        if not self.changes:
            return []
        header = [f"metric on {self.data} data", self.against, self.compared, "change", "95 % interval"]
        return [header, *(one.row for one in self.changes)]

    @property
    def text(self) -> str:
        """The decision, what happens to each metric, and the final weights, for the end of the output."""
        lines = [self.sentence]
        if self.changes:
            lines += ["", aligned(self.table, left=(0,))]
        if self.final_weights:
            weights = "  ".join(f"{name} {number(weight, '.4g')}" for name, weight in self.final_weights.items())
            lines += ["", f"final weights of {self.label}: {weights}"]
        return "\n".join(lines)

    def plain(self) -> dict[str, Any]:
        """The decision as plain values, for ``search.json``."""
        left_out = ("changes", "final_weights")
        own = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in left_out}
        changes = [asdict(one) | {"text": one.text} for one in self.changes]
        return {**own, "changes": changes, "final_weights": dict(self.final_weights), "table": self.table}


def decide_comparison(
    metrics: Mapping[str, Values],
    found: Mapping[str, Comparison],
    baseline: str,
    goals: Mapping[str, str],
    data: str,
    overlap: float = 0.0,
) -> Decision:
    """The decision about choices whose ``metrics`` were measured on the same seeds, or folds, as the ``baseline``'s.

    ``found`` compares the score of each other choice with it. Of those that are better the one with the best score is
    used; where none is shown to be better, the baseline is kept.
    """
    better = [label for label, c in found.items() if c.words == "better"]
    best = max(better or found, key=lambda label: found[label].difference, default=baseline)
    used = best if better else baseline
    each = () if best == baseline else metric_changes(metrics[best], metrics[baseline], goals, overlap)
    if better:
        said = used_words(best, found[best], f"{data} data", harmed_words(each))
    else:
        said = f"Keep {baseline}: no other choice is shown to be better"
    place = list(metrics).index(used)
    return Decision(f"{said}.", used, place, used == baseline, True, data, best, baseline, each)


def used_words(name: str, c: Comparison, measured: str, harmed: str) -> str:
    """That ``name`` is to be used, and why; ``harmed`` are the metrics that get worse."""
    interval = f"95 % interval {span(c.low, c.high, '+.2g')}"
    said = f"Use {name}: score {number(c.difference, '+.2g')} ({interval}, {measured})"
    return f"{said}; but {harmed}" if harmed else said


def harmed_words(each: Sequence[MetricChange]) -> str:
    """Which metrics get worse beyond their noise, and by how much."""
    return ", ".join(f"{one.metric} gets {one.text}" for one in each if one.words == "worse")


def metric_changes(
    one: Values, base: Values, goals: Mapping[str, str], overlap: float = 0.0
) -> tuple[MetricChange, ...]:
    """How each metric of ``one`` differs from that of ``base``: a value for each seed, or for each fold."""
    names = [name for name in goals if name in one and name in base]
    if not names:
        return ()
    before, after = means(base), means(one)

    def improvements(of: Values, name: str) -> list[float]:
        return [relative_improvement({name: v}, before, {name: goals[name]}) for v in of[name]]

    # Each metric is compared alone; Holm's correction is over all of them.
    differences = {
        name: [a - b for a, b in zip(improvements(one, name), improvements(base, name), strict=True)] for name in names
    }
    found = compare(differences, [0.0] * len(differences[names[0]]), overlap)
    return tuple(
        MetricChange(name, before[name], after[name], c.difference, c.low, c.high, c.p_corrected, c.words)
        for name, c in found.items()
    )


def means(metrics: Values) -> dict[str, float]:
    """The mean of each metric over the seeds."""
    return {name: fmean(values) for name, values in metrics.items()}
