"""The page of one protocol: its results, tested against equal weights, beside published ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from protocols import Protocol
from rows import EQUAL, SEARCHED
from scipy import special

from autoloss.core.io.text_table import markdown, number
from autoloss.core.metrics.score import relative_improvement
from autoloss.report.verdict import Comparison, compare

Runs = Mapping[int, Mapping[str, Any]]  # by seed


def whole(protocol: Protocol, cells: Mapping[str, Runs]) -> dict[str, list[Mapping[str, Any]]]:
    """The rows that finished on each of their seeds."""
    rows = {row: [of[seed] for seed in protocol.seeds_of(row) if seed in of] for row, of in cells.items()}
    return {
        row: of
        for row, of in rows.items()
        if len(of) == len(protocol.seeds_of(row)) and not any("error" in run for run in of)
    }


def scores(protocol: Protocol, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, list[float]]:
    """Each row's scores by seed; higher is better, equal weights are 0 on average over the seeds that the row has."""
    base = rows[EQUAL]
    goals = base[0]["goals"]
    found = {}
    for row, of in rows.items():
        same = base[: len(of)]
        reference = {name: fmean(run["test"][name] for run in same) for name in goals}
        if protocol.ratio:
            (metric,) = goals
            level = fmean(math.log(run["test"][metric]) for run in same)
            found[row] = [level - math.log(run["test"][metric]) for run in of]
        else:
            found[row] = [relative_improvement(run["test"], reference, goals) for run in of]
    return found


def baseline(protocol: Protocol, rows: Mapping[str, Sequence[Mapping[str, Any]]], seeds: int) -> list[float]:
    """The scores of equal weights on the first ``seeds`` seeds."""
    return scores(protocol, {EQUAL: rows[EQUAL][:seeds]})[EQUAL]


def verdicts(protocol: Protocol, cells: Mapping[str, Runs]) -> tuple[dict[str, list[float]], dict[str, Comparison]]:
    """The scores of the rows that finished, and each one's comparison with equal weights on the same seeds.

    Holm's correction is for the rows that have the same number of seeds.
    """
    rows = whole(protocol, cells)
    if EQUAL not in rows:
        return {}, {}
    found = scores(protocol, rows)
    alone = set(protocol.single.values())
    groups: dict[int, dict[str, list[float]]] = {}
    for row, of in found.items():
        if row != EQUAL and row not in alone:
            groups.setdefault(len(of), {})[row] = of
    compared: dict[str, Comparison] = {}
    for seeds, group in groups.items():
        compared |= compare(group, baseline(protocol, rows, seeds))
    return found, compared


def page(name: str, protocol: Protocol, cells: Mapping[str, Runs], searched: Sequence[str] | None) -> str:
    """The page as Markdown."""
    found, compared = verdicts(protocol, cells)
    rows = whole(protocol, cells)
    any_run = next(run for of in cells.values() for run in of.values() if "goals" in run)
    metrics = list(any_run["goals"])
    against = "error of equal weights / its error" if protocol.ratio else "score"
    header = ["weighting", "runs", *(f"{metric} (test)" for metric in metrics)]
    header += [against, "95 % interval", "p (Holm)", "verdict", "would be shown", "sum of weights"]
    header += ["change against single tasks, %"] if protocol.single else []
    table = [[*header, "published"]] if protocol.published else [header]
    order = sorted(cells, key=lambda row: (row in protocol.fewer, -fmean(found[row]) if row in found else math.inf))
    for row in order:
        line = [row, *_measured(protocol, row, cells[row], metrics, rows), *_compared(protocol, row, found, compared)]
        line += [number(fmean(run["mean_weight_sum"] for run in rows[row]), ".3g") if row in rows else ""]
        line += [_change(protocol, row, rows)] if protocol.single else []
        table.append(line + ([protocol.published.get(row, "")] if protocol.published else []))
    lines = [f"# {protocol.title}", "", f"Written by `python benchmarks/quality.py --data DIR {name}`.", ""]
    lines += [
        protocol.notes,
        "",
        markdown(table),
        "",
        f"- Seeds {', '.join(map(str, protocol.seeds))}; {_versions(cells)}; CPU.",
    ]
    lines += [f"- Intervals are of 95 % (Student's t over seeds). {_how(protocol)}"]
    lines += ["- In brackets: the change of a metric's mean against equal weights; below 0 is a smaller error."]
    lines += ["- *would be shown*: the smallest true difference that these seeds show in 80 % of cases, after Holm."]
    if protocol.fewer:
        seeds = ", ".join(map(str, protocol.seeds_of(protocol.fewer[0])))
        lines += [
            f"- The last rows ({', '.join(protocol.fewer)}) have seeds {seeds} alone, and a correction of their own."
        ]
    lines += [f"- Published: {protocol.source}."] if protocol.source else []
    if SEARCHED in protocol.rows and searched is not None:
        chosen = " ".join(one for one in searched if one.startswith("weighting"))
        lines.append(
            f"- `{SEARCHED}` is `{chosen}`, found on validation data by `autoloss search {' '.join(protocol.search)}`."
        )
    return "\n".join([*lines, f"- {summary(protocol, cells)}", ""])


def summary(protocol: Protocol, cells: Mapping[str, Runs]) -> str:
    """What the table shows, in one line."""
    found, compared = verdicts(protocol, cells)
    if not compared:
        return "Not enough runs for a verdict."
    best = max(compared, key=lambda row: fmean(found[row]))
    gain, c = fmean(found[best]) - fmean(found[EQUAL]), compared[best]
    size = f"an error {math.exp(gain):.3g} times smaller than" if protocol.ratio else f"a score of {gain:+.3f} over"
    worse = [row for row, one in compared.items() if one.words == "worse"]
    better = sum(one.words == "better" for one in compared.values())
    missing = [row for row in cells if row not in found]
    words = f"Best: {best}, {size} that of equal weights ({c.words}); {better} of {len(compared)} better"
    words += f"; worse: {', '.join(worse)}" if worse else ""
    words += f"; not (wholly) run or failed: {', '.join(missing)}" if missing else ""
    if not better and not worse:
        words = f"No difference shown between any of {len(compared)} weightings and equal weights"
        words += f"; not (wholly) run or failed: {', '.join(missing)}" if missing else ""
    return words + "."


def _versions(cells: Mapping[str, Runs]) -> str:
    """The versions that the rows were run with; where they differ, by row."""
    rows: dict[str, list[str]] = {}
    for row, of in cells.items():
        for run in of.values():
            if "versions" in run:
                words = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
                rows.setdefault(words, []).append(row)
    if len(rows) == 1:
        return next(iter(rows))
    return "; ".join(f"{words} for {', '.join(dict.fromkeys(of))}" for words, of in rows.items())


def _how(protocol: Protocol) -> str:
    if protocol.ratio:
        return (
            "Errors are geometric means (smallest to largest); the test is paired by seed, on logarithms, after Holm."
        )
    return (
        "The score is the mean relative improvement over equal weights; the test is paired by seed, corrected by Holm."
    )


def _measured(
    protocol: Protocol,
    row: str,
    of: Runs,
    metrics: Sequence[str],
    rows: Mapping[str, Sequence[Mapping[str, Any]]],
) -> list[str]:
    seeds = protocol.seeds_of(row)
    good = [of[seed] for seed in seeds if seed in of and "error" not in of[seed]]
    failed = [run["error"] for run in of.values() if "error" in run]
    runs = f"{len(good)} of {len(seeds)}" if len(good) < len(seeds) else str(len(good))
    if not good:
        return [f"failed: {failed[0]}" if failed else "not run", *([""] * len(metrics))]
    cells = []
    for metric in metrics:
        values = [run["test"][metric] for run in good]
        if protocol.ratio:
            ends = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
            cells.append(f"{math.exp(fmean(map(math.log, values))):.3g}{ends}")
            continue
        half = (
            special.stdtrit(len(values) - 1, 0.975) * stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0
        )
        cells.append(f"{fmean(values):.4g}" + (f" ± {half:.2g}" if half else "") + _by(row, metric, rows))
    return [runs, *cells]


def _by(row: str, metric: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The change of a metric's mean against equal weights on the same seeds."""
    if row == EQUAL or row not in rows or EQUAL not in rows:
        return ""
    before = fmean(run["test"][metric] for run in rows[EQUAL][: len(rows[row])])
    return f" ({100 * (fmean(run['test'][metric] for run in rows[row]) / before - 1):+.0f} %)" if before else ""


def _compared(
    protocol: Protocol, row: str, found: Mapping[str, Sequence[float]], compared: Mapping[str, Comparison]
) -> list[str]:
    if row not in found:
        return [""] * 5
    gain = fmean(found[row]) - fmean(found[EQUAL])
    shown = f"{math.exp(gain):.3g}" if protocol.ratio else f"{gain:+.4f}"
    if row not in compared:
        return [shown, "", "", "the baseline" if row == EQUAL else "a single task", ""]
    c = compared[row]
    ends = (math.exp(c.low), math.exp(c.high)) if protocol.ratio else (c.low, c.high)
    form = ".3g" if protocol.ratio else "+.4f"
    least = math.exp(c.detectable) if protocol.ratio else c.detectable
    shares = [f"{ends[0]:{form}} to {ends[1]:{form}}", number(c.p_corrected, ".3g"), c.words, number(least, ".3g")]
    return [shown, *shares]


def _change(protocol: Protocol, row: str, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The change of accuracy (not error) and of the others against networks of one task, in %, and their mean."""
    if row not in rows or row in protocol.single.values() or not set(protocol.single.values()) <= set(rows):
        return ""
    changes = []
    for metric, single in protocol.single.items():
        ours, theirs = (fmean(run["test"][metric] for run in rows[one]) for one in (row, single))
        change = (theirs - ours) / (1 - theirs) if metric.endswith("_error") else (theirs - ours) / theirs
        changes.append(100 * change)
    return ", ".join(f"{change:+.2f}" for change in [*changes, fmean(changes)])
