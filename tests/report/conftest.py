import csv
import json
from itertools import combinations

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


WEIGHTINGS = ("equal", "gradnorm", "dwa")
LOSSES = ("equal", "left", "pixels")  # one has the name of a weighting


@pytest.fixture
def kinds_of_pages(run_directory, tmp_path):
    """A run, a sweep, a comparison and a search of the same weightings, by kind."""
    rng, steps = np.random.default_rng(0), 60
    rows, trials = [], []
    for i, weighting in enumerate(WEIGHTINGS):
        final, scores, places = dict(zip(LOSSES, (1.0 + 0.9 * i, 0.05, 1.0), strict=True)), [], []
        for seed in range(3):
            columns = {f"{kind}/{n}": rng.uniform(0.5, 1, steps) for kind in ("loss_raw", "grad_norm") for n in LOSSES}
            columns |= {f"loss_weight/{n}": np.geomspace(1, w, steps) for n, w in final.items()}
            columns |= {f"grad_cosine/{a}/{b}": rng.uniform(-1, 1, steps) for a, b in combinations(LOSSES, 2)}
            columns |= {"loss/total": np.ones(steps), "grad_cosine_min": rng.uniform(-1, 0, steps)}
            curves = {f"{kind}/{n}": rng.uniform(0.5, 1, 4) for kind in ("train_loss", "val_loss") for n in LOSSES}
            metrics = {"error": 0.5 - 0.1 * i + 0.01 * seed, "size": 1.0 + 0.3 * i - 0.005 * seed * i}
            scores.append(0.1 * i + 0.01 * seed * i)
            known = {"weighting": weighting, "seed": seed, "overrides": [f"weighting={weighting}", f"seed={seed}"]}
            goals = {"error": "min", "size": "min"}
            known |= {"metrics": metrics, "goals": goals, "final_weights": final, "mean_weight_sum": 3.0}
            place = run_directory(
                f"sweep/{weighting}-{seed}", columns, curves | {"val/error": rng.uniform(size=4)}, LOSSES, **known
            )
            places.append(f"../{place.relative_to(tmp_path)}")
            shown = {"metrics": metrics, "final_weights": final, "mean_weight_sum": 3.0, "seconds": 1.0}
            trials.append(
                {"number": len(trials), "state": "complete", "baseline": not trials, "parameters": {"lr": 0.1 * seed}}
                | {"label": f"{weighting} lr={seed}", "values": [scores[-1]], "score": scores[-1], "on_front": False}
                | shown
            )
        difference = {} if weighting == "equal" else {"low": 0.05, "high": 0.2, "p": 0.01, "words": "better"}
        none = {"low": None, "high": None, "p": None, "words": "the baseline"}
        row = {"label": weighting, "scores": scores, "metrics": metrics, "weights": final, "weight_sum": 3.0}
        rows.append(row | {"places": places} | none | difference)
    compared = {"baseline": "equal", "split": "test", "goals": goals, "rows": rows, "notes": ["A note."]}
    (tmp_path / "comparison").mkdir()
    (tmp_path / "comparison" / "compare.json").write_text(json.dumps(compared))
    confirmed = [
        {
            "label": r["label"],
            "validation": r["scores"],
            "test": r["scores"],
            "split": "test",
            "error": None,
            "trial": i,
        }
        | ({} if r["low"] is None else {"difference": 0.1, **{k: r[k] for k in ("low", "high", "p", "words")}})
        for i, r in enumerate(rows)
    ]
    found = {"objectives": [{"name": "score", "goal": "max"}], "knee": None, "importance": {}, "confirmed": confirmed}
    found |= {"trials": trials, "verdict": ["Verdict: a note."], "over": True, "goals": goals, "decision": None}
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "search.json").write_text(json.dumps(found))
    (tmp_path / "search" / "trials").symlink_to(tmp_path / "trials")
    for trial in trials:
        place = tmp_path / "sweep" / f"{trial['label'].split(' ')[0]}-{trial['number'] % 3}"
        (tmp_path / "trials").mkdir(exist_ok=True)
        (tmp_path / "trials" / f"{trial['number']:04d}").symlink_to(place)
    kinds = {"run": tmp_path / "sweep" / "gradnorm-0", "sweep": tmp_path / "sweep"}
    return kinds | {"comparison": tmp_path / "comparison", "search": tmp_path / "search"}


def _write_csv(path, table):
    steps = len(next(iter(table.values())))
    clock = {"step": np.arange(steps), "epoch": np.zeros(steps), "progress": np.linspace(0, 1, steps)}
    whole = {**clock, **table}
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(whole)
        for row in zip(*whole.values(), strict=True):
            writer.writerow(["" if x != x else f"{x:.9g}" for x in map(float, row)])
