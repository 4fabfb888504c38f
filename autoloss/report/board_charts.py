"""Charts that compare several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from autoloss.core.metrics.pareto import front, knee
from autoloss.report.intervals import interval
from autoloss.report.page import Block, Chart
from autoloss.report.record import read_columns

MOST = 30  # choices in one chart
Metrics = Mapping[str, float]


def spread(
    name: str, values: Sequence[float], ends: tuple[float | None, float | None], note: str = ""
) -> dict[str, Any]:
    """A row of a chart of intervals: the mean of ``values``, each of them, and the interval's ``ends``."""
    return {
        "name": name,
        "mean": interval(values)[0],
        "low": ends[0],
        "high": ends[1],
        "points": [*values],
        "note": note,
    }


def shifted(base: float, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """The ``low`` and ``high`` of a difference, shifted by ``base``; ``None`` where there is no interval."""
    return (None, None) if low is None or high is None else (base + low, base + high)


def intervals(title: str, rows: Sequence[Mapping[str, Any]], axis: str, note: str, zero: bool = True) -> Chart:
    """A chart of means with their intervals; with ``zero`` it is wide and has a line at 0."""
    data = {"rows": rows, "axis": axis} | ({"zero": 0} if zero else {})
    return Chart(title, "intervals", data, note, tall=zero)


def weights_by_choice(choices: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str]) -> list[Block]:
    """The final weights of each choice, scaled to sum to their number, since weightings also differ in scale."""
    shown = [(label, scaled(weights)) for label, weights in choices if weights][:MOST]
    if not shown or len(names) < 2:
        return []
    series = [{"name": name, "values": [weights.get(name) for _, weights in shown]} for name in names]
    data = {"rows": [label for label, _ in shown], "series": series, "log": True, "axis": "weight"}
    return [Chart("Final weights", "dots", data, "Scaled to sum to the number of losses, so equal weights are at 1.")]


def scaled(weights: Mapping[str, float]) -> dict[str, float]:
    """``weights``, scaled so that their magnitudes sum to their number."""
    whole = sum(abs(w) for w in weights.values())
    return {name: w * len(weights) / whole if whole else w for name, w in weights.items()}


def against(runs: Sequence[tuple[str, Path]]) -> list[Block]:
    """For each loss, its value at the end of each run in training and on validation data."""
    ends: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for label, place in runs:
        curves = read_columns(place / "metrics.csv")
        for tag, held in curves.items():
            name = tag.removeprefix("val_loss/")
            train = curves.get(f"train_loss/{name}")
            if name == tag or train is None or not len(held) or not np.isfinite([train[-1], held[-1]]).all():
                continue
            point = {"name": f"{label}: {place.name}", "x": float(train[-1]), "y": float(held[-1])}
            ends.setdefault(name, {}).setdefault(label, []).append(point)
    blocks: list[Block] = []
    for name, groups in list(ends.items())[:4]:
        if sum(map(len, groups.values())) < 2:
            continue
        few = len(groups) <= 8
        series = [{"name": label, "points": points} for label, points in groups.items()]
        merged = [{"name": "runs", "points": [p for points in groups.values() for p in points]}]
        values = [x for group in groups.values() for p in group for x in (p["x"], p["y"])]
        ends_at = [[min(values), min(values)], [max(values), max(values)]]
        line = {"name": "no difference", "points": ends_at}
        data = {"groups": series if few else merged, "xname": "training", "yname": "validation", "line": line}
        note = f"Loss `{name}` at the end of each run. A run far above the line overfits its training data."
        blocks.append(Chart(f"Training against validation: {name}", "scatter", data, note))
    return blocks


def fronts(points: Sequence[tuple[str, Metrics]], goals: Mapping[str, str]) -> list[Block]:
    """For each pair of the first three metrics: the Pareto front, and its best compromise."""
    known = [(label, of) for label, of in points if all(np.isfinite(of.get(name, np.nan)) for name in goals)]
    if len(known) < 3 or len(goals) < 2:
        return []
    return [_front(known, pair, [goals[name] for name in pair]) for pair in combinations(list(goals)[:3], 2)]


def _front(points: Sequence[tuple[str, Metrics]], pair: tuple[str, str], goals: Sequence[str]) -> Chart:
    x, y = pair
    spots = [(of[x], of[y]) for _, of in points]
    best, middle = set(front(spots, goals)), knee(spots, goals)
    dots: list[dict[str, Any]] = [{"name": label, "x": of[x], "y": of[y]} for label, of in points]
    parts: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        ({"name": "beaten", "grey": True}, [d for i, d in enumerate(dots) if i not in best]),
        ({"name": "Pareto front", "accent": True}, [d for i, d in enumerate(dots) if i in best - {middle}]),
        ({"name": "the best compromise", "large": True}, [dots[middle]]),
    ]
    groups = [{**look, "points": of} for look, of in parts if of]
    line = {"name": "front", "points": sorted([d["x"], d["y"]] for i, d in enumerate(dots) if i in best)}
    words = " and ".join(f"{name} ({goal})" for name, goal in zip(pair, goals, strict=True))
    data = {"groups": groups, "xname": x, "yname": y, "line": line}
    note = f"{words}. No candidate is better in both metrics than one on the front."
    note += f" `{dots[middle]['name']}` is the best compromise."
    return Chart(f"{x} against {y}", "scatter", data, note)
