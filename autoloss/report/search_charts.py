"""Charts of a search's trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autoloss.report.board_charts import grouped, intervals, scaled, shifted, spread
from autoloss.report.intervals import interval
from autoloss.report.page import Block, Chart
from autoloss.report.scale import apart, first, tenfold

Trial = Mapping[str, Any]
AXES = 8  # of each kind in one chart
ENOUGH = 20  # finished trials from which an importance means something


def label(trial: Trial) -> str:
    """The name of a trial in a chart."""
    return f"{trial['number']}: {trial.get('label', '')}"


def method(trial: Trial) -> str:
    """The trial's weighting."""
    return "equal" if trial["baseline"] else weighting_of(str(trial.get("label", "")))


def weighting_of(label: str) -> str:
    """The weighting of a candidate's label, ``gradnorm alpha=1.5``."""
    return label.split(" ")[0]


def history(search: Mapping[str, Any], ranked: Sequence[Trial]) -> Chart:
    """The objective against the trial's number, and the best so far."""
    name, goal = search["objectives"][0]["name"], search["objectives"][0]["goal"]
    trials = sorted(ranked, key=lambda t: t["number"])
    y = np.array([t["values"][0] for t in trials], dtype=float)
    best = np.maximum.accumulate(y) if goal == "max" else np.minimum.accumulate(y)
    groups: dict[str, list[dict[str, Any]]] = {}
    for t in trials:
        groups.setdefault(method(t), []).append({"name": label(t), "x": t["number"], "y": t["values"][0]})
    points = [[t["number"], float(value)] for t, value in zip(trials, best, strict=True)]
    data = {
        "groups": grouped(groups),
        "line": {"name": "best so far", "points": points, "step": "end"},
        "xname": "trial",
        "yname": name,
    }
    return Chart(f"{name} by trial", "scatter", data, "One dot for each trial.")


def importance(search: Mapping[str, Any]) -> list[Block]:
    """A chart of how much each parameter matters for the objective; nothing where the trials are too few."""
    done = sum(trial["state"] == "complete" for trial in search["trials"])
    rows = [{"name": name, "value": value} for name, value in list(search["importance"].items())[:12]]
    if done < ENOUGH or not rows:
        return []
    note = "How much each parameter decides whether a trial is among the best (PED-ANOVA); the shares sum to 1."
    return [Chart("Parameter importance", "bars", {"rows": rows, "axis": "share"}, note)]


def parallel(search: Mapping[str, Any], ranked: Sequence[Trial], names: Sequence[str]) -> list[Block]:
    """A line for each trial: its weighting, its other parameters, its final weights, and its objective."""
    if len(ranked) < 3:
        return []
    methods = [method(t) for t in ranked]
    axes: list[dict[str, Any]] = [{"name": "weighting", "options": sorted(set(methods))}]
    columns: list[list[Any]] = [[*methods]]
    own = {"weighting", *methods}
    keys = [
        key for key in dict.fromkeys(key for t in ranked for key in t["parameters"]) if key.split(".")[0] not in own
    ]
    for key in list(dict.fromkeys(keys))[:AXES]:
        values = [t["parameters"].get(key) for t in ranked]
        if any(isinstance(value, str) for value in values):
            values = [None if value is None else str(value) for value in values]
            axes.append({"name": key, "options": sorted({value for value in values if value is not None})})
        else:
            axes.append({"name": key})
        columns.append(values)
    axes_of_weights, weights = _weights(ranked, names)
    axes += axes_of_weights
    columns += weights
    goal = search["objectives"][0]["name"]
    axes.append({"name": goal})
    columns.append([t["values"][0] for t in ranked])
    rows = [{"name": label(t), "values": [*of]} for t, of in zip(ranked, zip(*columns, strict=True), strict=True)]
    note = "Each line is a trial; drag along an axis to select trials. Final weights, scaled to sum to their number, "
    note += "have one scale: equal weights are a level line."
    return [Chart("Trials", "parallel", {"axes": axes, "rows": rows, "goal": goal}, note, tall=True)]


def _weights(ranked: Sequence[Trial], names: Sequence[str]) -> tuple[list[dict[str, Any]], list[list[Any]]]:
    """An axis for each loss, and its weights; all axes have the same ends, so that equal weights are a level line."""
    found = [scaled(t.get("final_weights", {})) for t in ranked]
    table = {name: [of.get(name) for of in found] for name in names}
    known = {name: [w for w in of if w is not None] for name, of in table.items()}
    names = first(names, {name: apart(of) for name, of in known.items()}).get("top", names)[:AXES]
    everyone = [w for name in names for w in known[name]]
    ends = [min([*everyone, 1.0]), max([*everyone, 1.0])]
    axes = [{"name": f"weight of {name}", "log": tenfold([everyone]), "ends": ends} for name in names]
    return axes, [table[name] for name in names]


def confirmed(search: Mapping[str, Any]) -> Chart:
    """The candidates' scores with fresh seeds on test data, or on validation data if there are no others."""
    kept = [c for c in search["confirmed"] if not c["error"]]
    base = next(interval(c["test"])[0] for c in kept if "difference" not in c)
    rows = [
        spread(
            c["label"],
            c["test"],
            shifted(base, c.get("low"), c.get("high")),
            weighting_of(c["label"]),
            c.get("words", "equal weights"),
        )
        for c in kept
    ]
    data = "validation" if any(c.get("split") == "validation" for c in kept) else "test"
    note = f"On {data} data. Grey: fresh seeds. Line: 95 % interval of the difference to equal weights, paired by seed."
    return intervals("Confirmed", rows, "score (0: equal weights)", note)
