import csv
import json

import numpy as np
import pytest


@pytest.fixture
def run_directory(tmp_path):
    """Writes the directory of a run: columns [T] by tag, and whatever its summary says."""

    def write(
        name="run", columns=None, curves=None, losses=("a", "b"), measures=True, finished=True, groups=None, **summary
    ):
        place = tmp_path / name
        place.mkdir(parents=True, exist_ok=True)
        units = [loss for loss in losses if not any(loss in of for of in (groups or {}).values())] + list(groups or {})
        base = summary.pop("base", dict.fromkeys(losses, 1.0))
        about = {"losses": list(losses), "units": units, "groups": groups or {}, "base": base, "measures": measures}
        (place / "record.json").write_text(json.dumps({"players": {"": about}, "every": 1, "dense": 1000}))
        for file, table in (("trajectory.csv", columns), ("metrics.csv", curves)):
            if table:
                _write_csv(place / file, table)
        if finished:
            known = {
                "weighting": "gradnorm",
                "problem": "toy",
                "seed": 0,
                "metrics": {"error": 0.5},
                "goals": {"error": "min"},
            }
            known |= {
                "final_weights": dict.fromkeys(losses, 1.0),
                "mean_weight_sum": 2.0,
                "overrides": [],
                "config": {},
            }
            (place / "summary.json").write_text(json.dumps(known | summary))
        return place

    return write


def _write_csv(path, table):
    steps = len(next(iter(table.values())))
    clock = {"step": np.arange(steps), "epoch": np.zeros(steps), "progress": np.linspace(0, 1, steps)}
    whole = {**clock, **table}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(whole)
        for row in zip(*whole.values(), strict=True):
            writer.writerow(["" if x != x else f"{x:.9g}" for x in map(float, row)])
