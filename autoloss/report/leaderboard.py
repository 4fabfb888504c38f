"""Ranks the runs of a sweep, from their files alone."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any

from autoloss.core.io.csv_cells import escaped
from autoloss.core.io.text_table import leaderboard, markdown, number
from autoloss.core.metrics.score import relative_improvement
from autoloss.report.runs import Run

BASELINE, UNIFORM = "equal", "uniform"


@dataclass(frozen=True, slots=True)
class Entrant:
    """The finished runs that differ only in their seed."""

    label: str
    runs: tuple[Run, ...]
    scores: tuple[float, ...] = ()

    @property
    def score(self) -> float:
        """The mean score over seeds; NaN without a baseline."""
        return fmean(self.scores) if self.scores else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation of the score over seeds; NaN for one seed."""
        return stdev(self.scores) if len(self.scores) > 1 and all(map(math.isfinite, self.scores)) else math.nan

    def by_seed(self, values: Sequence[float]) -> dict[Any, float]:
        """``values`` of the runs by seed; empty if two runs have the same one, or one has none."""
        seeds = [_summary(run).get("seed") for run in self.runs]
        known = None not in seeds and len(set(seeds)) == len(seeds)
        return dict(zip(seeds, values, strict=True)) if known else {}

    def values(self, metric: str) -> list[float]:
        """``metric`` of each run."""
        return [float(_summary(run)["metrics"][metric]) for run in self.runs]

    def mean(self, metric: str) -> float:
        """The mean of ``metric`` over seeds."""
        return fmean(self.values(metric))

    @property
    def weight_sum(self) -> float:
        """The sum of the weights, mean over steps and seeds; with SGD it multiplies the learning rate."""
        return fmean(_summary(run)["mean_weight_sum"] for run in self.runs)


@dataclass(frozen=True, slots=True)
class Leaderboard:
    """Entrants, best first, and the runs that failed or did not finish."""

    entrants: tuple[Entrant, ...]
    metrics: tuple[str, ...]
    failed: tuple[Run, ...] = ()
    unfinished: tuple[Run, ...] = ()
    baseline: str | None = None
    goals: Mapping[str, str] = field(default_factory=dict)


def build(runs: Sequence[Run]) -> Leaderboard:
    """The leaderboard of ``runs``: means and deviations over seeds, change against equal weights."""
    done = [run for run in runs if run.finished]
    failed = tuple(run for run in runs if run.error)
    unfinished = tuple(run for run in runs if not run.finished and not run.error)
    groups: dict[str, list[Run]] = {}
    varying = _varying(done)
    for run in done:
        groups.setdefault(_label(_summary(run), varying), []).append(run)
    short = {label: _short(label) for label in groups}
    distinct = len(set(short.values())) == len(short)
    entrants = [Entrant(short[label] if distinct else label, tuple(of)) for label, of in groups.items()]
    if not entrants:
        return Leaderboard((), (), failed, unfinished)
    metrics = tuple(name for name in _summary(done[0])["metrics"] if all(name in _summary(r)["metrics"] for r in done))
    goals = {name: goal for name, goal in _summary(done[0])["goals"].items() if name in metrics}
    equal = [e for e in entrants if _summary(e.runs[0])["weighting"] == BASELINE]
    uniform = (e for e in equal if _summary(e.runs[0]).get("sample_weighting", UNIFORM) == UNIFORM)
    base = next(uniform, equal[0] if equal else None)
    if base is not None:
        reference = {name: base.mean(name) for name in metrics}
        entrants = [
            Entrant(
                e.label, e.runs, tuple(relative_improvement(_summary(r)["metrics"], reference, goals) for r in e.runs)
            )
            for e in entrants
        ]
    ranked = sorted(entrants, key=lambda e: (-e.score if e.scores else 0.0, e.label))
    return Leaderboard(tuple(ranked), metrics, failed, unfinished, base.label if base else None, goals)


def table(board: Leaderboard) -> list[list[str]]:
    """The leaderboard as a header and rows of text."""
    header = ["rank", "run", "seeds", "score", "+-", *board.metrics, "sum of weights"]
    rows = [
        [
            str(rank),
            entrant.label,
            str(len(entrant.runs)),
            number(entrant.score, "+.4f"),
            number(entrant.deviation, ".4f"),
            *(number(entrant.mean(metric), ".4g") for metric in board.metrics),
            number(entrant.weight_sum, ".3g"),
        ]
        for rank, entrant in enumerate(board.entrants, 1)
    ]
    return [header, *rows]


def as_csv(board: Leaderboard) -> str:
    """The leaderboard as CSV, numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out)
    metrics = map(escaped, board.metrics)
    writer.writerow(["rank", "run", "seeds", "score", "score_deviation", *metrics, "mean_weight_sum"])
    for rank, e in enumerate(board.entrants, 1):
        numbers = (e.score, e.deviation, *(e.mean(m) for m in board.metrics), e.weight_sum)
        writer.writerow([rank, escaped(e.label), len(e.runs), *(f"{x:.9g}" if x == x else "" for x in numbers)])
    return out.getvalue()


def as_markdown(board: Leaderboard) -> str:
    """The leaderboard as a Markdown table, with the meaning of the score and the failed runs."""
    return "\n".join([markdown(table(board)), "", *notes(board)]) + "\n"


def as_text(board: Leaderboard) -> str:
    """The leaderboard for a terminal."""
    rows = table(board)
    shown = leaderboard(rows, range(5, 5 + len(board.metrics)), left=(1,)) if len(rows) > 1 else "No run finished."
    return "\n".join([shown, "", *notes(board)])


def notes(board: Leaderboard) -> list[str]:
    """The meaning of the score, and the runs that are missing from the table."""
    lines = []
    if board.entrants and not board.metrics:
        lines.append("The runs have no metric in common, so there is no score.")
    elif board.baseline is not None:
        goals = ", ".join(f"{name} ({goal})" for name, goal in board.goals.items())
        lines.append(
            f"score: mean relative improvement over {board.baseline!r} of {goals} on validation data; "
            "+-: standard deviation over seeds."
        )
    elif board.entrants:
        lines.append("No run has weighting=equal, so there is no baseline and no score.")
    lines += [f"failed: {run.directory.name}: {run.error}" for run in board.failed]
    lines += [f"not finished: {run.directory.name}" for run in board.unfinished]
    return lines


def _summary(run: Run) -> dict[str, Any]:
    assert run.summary is not None
    return run.summary


def _varying(runs: Sequence[Run]) -> list[str]:
    """The keys of the overrides in which ``runs`` differ, except the seed."""
    seen: dict[str, set[str]] = {}
    for run in runs:
        for key, value in _overrides(_summary(run)).items():
            seen.setdefault(key, set()).add(value)
    everywhere = len(runs)
    counts = {key: sum(key in _overrides(_summary(run)) for run in runs) for key in seen}
    return [key for key, values in seen.items() if key != "seed" and (len(values) > 1 or counts[key] < everywhere)]


def _overrides(summary: Mapping[str, Any]) -> dict[str, str]:
    # Hydra writes a colon in a value with a backslash.
    pairs = (override.lstrip("+~").replace("\\", "").partition("=") for override in summary.get("overrides", ()))
    return {key.removeprefix("loss@"): value for key, _, value in pairs}


def _label(summary: Mapping[str, Any], varying: Sequence[str]) -> str:
    overrides = _overrides(summary)
    if "weighting" not in overrides:
        overrides = {"weighting": summary["weighting"], **overrides}
    parts = [overrides["weighting"]]
    parts += [f"{key}={overrides[key]}" for key in varying if key != "weighting" and key in overrides]
    return " ".join(parts)


def _short(label: str) -> str:
    """``label`` with its long decimal numbers, which a sampler drew, to four digits."""
    return re.sub(r"(?<==)-?\d+\.\d{4,}(e[-+]?\d+)?(?= |$)", lambda found: f"{float(found[0]):.4g}", label)
