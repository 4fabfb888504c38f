"""Charts that compare several runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from autoloss.core.metrics.pareto import front, knee
from autoloss.report.intervals import interval
from autoloss.report.page import Block, Chart, choice
from autoloss.report.record import read_columns
from autoloss.report.scale import apart, first, folded, tenfold

MOST = 30  # choices in one chart
KNEE = 3  # points of a front from which one of them is its best compromise
Metrics = Mapping[str, float]


def spread(
    name: str, values: Sequence[float], ends: tuple[float | None, float | None], of: str, note: str = ""
) -> dict[str, Any]:
    """A row of a chart of intervals: the mean of ``values``, each of them, and the interval's ``ends``.

    It has the mark of the choice ``of``.
    """
    return {
        "name": name,
        "of": choice(of),
        "mean": interval(values)[0],
        "low": ends[0],
        "high": ends[1],
        "points": [*values],
        "note": note,
    }


def shifted(base: float, low: float | None, high: float | None) -> tuple[float | None, float | None]:
    """The ``low`` and ``high`` of a difference, shifted by ``base``; ``None`` where there is no interval."""
    return (None, None) if low is None or high is None or low != low else (base + low, base + high)


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
    table = {name: [weights[name] for _, weights in shown if name in weights] for name in names}
    log = tenfold(table.values())
    data = {"rows": [label for label, _ in shown], "series": series, "log": log, "axis": "weight"}
    data |= first(names, {name: apart(of) for name, of in table.items()})
    note = "Scaled to sum to the number of losses, so that equal weights are at 1."
    return [Chart("Final weights", "dots", data, folded(note, data, len(names)))]


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
        values = [x for group in groups.values() for p in group for x in (p["x"], p["y"])]
        ends_at = [[min(values), min(values)], [max(values), max(values)]]
        line = {"name": "no difference", "points": ends_at}
        data = {"groups": grouped(groups), "xname": "training", "yname": "validation", "line": line}
        note = f"Loss `{name}` at the end of each run. A run far above the line overfits its training data."
        blocks.append(Chart(f"Training against validation: {name}", "scatter", data, note))
    return blocks


def grouped(points: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The groups of a chart of points: one for each choice, with the choice's mark."""
    return [{"name": name, "of": choice(name), "points": [*of]} for name, of in points.items()]


def fronts(points: Sequence[tuple[str, str, Metrics]], goals: Mapping[str, str]) -> list[Block]:
    """For each pair of the first three metrics: the Pareto front of ``points`` (choice, label, metrics)."""
    known = [point for point in points if all(np.isfinite(point[2].get(name, np.nan)) for name in goals)]
    if len(known) < 3 or len(goals) < 2:
        return []
    return [_front(known, pair, [goals[name] for name in pair]) for pair in combinations(list(goals)[:3], 2)]


def _front(points: Sequence[tuple[str, str, Metrics]], pair: tuple[str, str], goals: Sequence[str]) -> Chart:
    x, y = pair
    spots = [(of[x], of[y]) for _, _, of in points]
    best = set(front(spots, goals))
    middle = knee(spots, goals) if len(best) >= KNEE else None
    groups: dict[str, list[dict[str, Any]]] = {}
    for i, (group, label, of) in enumerate(points):
        look = {"faded": i not in best, "ring": i == middle}
        groups.setdefault(group, []).append({"name": label, "x": of[x], "y": of[y], **look})
    line = {"name": "Pareto front", "points": sorted(list(spots[i]) for i in best)}
    words = " and ".join(f"{name} ({goal})" for name, goal in zip(pair, goals, strict=True))
    data = {"groups": grouped(groups), "xname": x, "yname": y, "line": line}
    note = f"{words}. Pale: another one is better in both, or as good in one and better in the other."
    if middle is not None:
        note += f" Ringed: `{points[middle][1]}`, the best compromise on the front."
    return Chart(f"{x} against {y}", "scatter", data, note)
