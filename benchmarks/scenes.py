"""Dense tasks with rare small classes: which loss for them, and which weighting? `python benchmarks/scenes.py`

Trains each row on each seed and writes benchmarks/results/scenes.md. A run that is in benchmarks/results/scenes.jsonl
already, with the same settings, is not trained again, so that the command goes on where it was stopped. --rows trains
only some rows, --seeds only some seeds, and --show none.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoloss.core.io.text_table import markdown, number
from autoloss.core.metrics.score import relative_improvement
from autoloss.report.verdict import ALPHA, compare, holm

RESULTS = Path(__file__).with_name("results")
TABLE, RUNS = RESULTS / "scenes.md", RESULTS / "scenes.jsonl"
SETTINGS = ("problem=scenes", "problem.rooms=400", "batch_size=4", "trainer.max_epochs=5")
SETTINGS += ("trainer.check_val_every_n_epoch=5", "record.every=1000", "checkpoint.every=0")
SETTINGS += ("trainer.accelerator=cpu", "threads=1", "test=true")
PLAIN, BASE = "cross_entropy", "cross_entropy, small x 20"
SMALL = ("losses.segmentation.class_weights=[1,1,1,1,1,20,20,20]",)
FOCAL, TENTH = "losses.segmentation=focal", "weighting.wrap=[{every_n:{n:10}}]"
LOSSES: Mapping[str, tuple[str, ...]] = {
    PLAIN: (),
    BASE: SMALL,
    "dice": ("losses.segmentation=dice",),
    "focal": (FOCAL,),
    "focal, small x 20": (FOCAL, *SMALL),
    "focal, small x 20, gamma learned": (FOCAL, *SMALL, "losses.segmentation.gamma=learned"),
    "cross_entropy and dice": ("losses.segmentation=[cross_entropy,dice]",),
    "lovasz": ("losses.segmentation=lovasz",),
}
WEIGHTINGS: Mapping[str, tuple[str, ...]] = {
    BASE: SMALL,
    "auto": (*SMALL, "weighting=auto", TENTH),
    "uncertainty": (*SMALL, "weighting=uncertainty"),
    "imtl_l": (*SMALL, "weighting=imtl_l"),
    "dwa": (*SMALL, "weighting=dwa"),
    "rlw": (*SMALL, "weighting=rlw"),
    "gradnorm": (*SMALL, "weighting=gradnorm", TENTH),
    "cagrad": (*SMALL, "weighting=cagrad", TENTH),
    "mgda": (*SMALL, "weighting=mgda", TENTH),
    "nash_mtl": (*SMALL, "weighting=nash_mtl", TENTH),
    "famo": (*SMALL, "weighting=famo"),
}
ROWS = {**LOSSES, **WEIGHTINGS}
SHOWN = ("small_iou", "mean_iou", "pixel_accuracy", "depth_abs", "depth_rel")
SHOWN += ("normal_mean", "normal_median", "normal_within_11", "centre_f1")
Run = Mapping[str, Any]


def recorded() -> dict[str, dict[int, Run]]:
    """The recorded runs by row and seed, if their settings are those that the row has now."""
    lines = RUNS.read_text().splitlines() if RUNS.exists() else []
    found: dict[str, dict[int, Run]] = {row: {} for row in ROWS}
    for run in map(json.loads, lines):
        if run["settings"] == [*SETTINGS, *ROWS.get(run["row"], ())]:
            found[run["row"]][run["seed"]] = run
    return found


def train_row(row: str, seed: int) -> Run:
    """Train one row on one seed and record it."""
    from autoloss.app.composition import composed
    from autoloss.app.overrides import rewritten
    from autoloss.app.train_one import train

    settings = [*SETTINGS, *ROWS[row]]
    overrides = rewritten([*settings, f"seed={seed}"])
    with tempfile.TemporaryDirectory() as place:
        found = train(composed("train", overrides), Path(place) / "run", overrides)
    run = {"row": row, "seed": seed, "settings": settings, "test": found["test_metrics"], "goals": found["goals"]}
    run |= {key: found[key] for key in ("final_weights", "steps", "seconds", "versions")}
    with RUNS.open("a") as file:
        file.write(json.dumps(run) + "\n")
    return run


def table(rows: Mapping[str, Mapping[int, Run]], base: str, score: Any, what: str) -> str:
    """Means and deviations of the rows with the seeds of the ``base``, the best ``score`` (of a run) first."""
    seeds = sorted(rows[base])
    whole = {row: [of[seed] for seed in seeds] for row, of in rows.items() if set(seeds) <= set(of)}
    scores = {row: [score(run) for run in of] for row, of in whole.items()}
    others = {row: of for row, of in scores.items() if row != base}
    compared = compare(others, scores[base]) if others and len(seeds) > 1 else {}
    cells = [["row", *SHOWN, what, "95 % interval", "p (Holm)", "verdict"]]
    for row in sorted(whole, key=lambda row: -fmean(scores[row])):
        line = [row]
        for metric in SHOWN:
            values = [run["test"][metric] for run in whole[row]]
            line.append(f"{fmean(values):.3g}" + (f" ± {stdev(values):.1g}" if len(values) > 1 else ""))
        line.append(f"{fmean(scores[row]) - fmean(scores[base]):+.4f}")
        if (one := compared.get(row)) is not None:
            interval = f"{one.low:+.4f} to {one.high:+.4f}" if math.isfinite(one.low) else "the seeds do not differ"
            line += [interval, number(one.p_corrected, ".3g"), one.words]
        else:
            line += ["", "", "the baseline" if row == base else ""]
        cells.append(line)
    return markdown(cells)


def apart(rows: Mapping[str, Mapping[int, Run]], base: str, scores: Mapping[str, Callable[[Run], float]]) -> list[str]:
    """The pairs of rows that differ in one of the ``scores``, after Holm's correction for all pairs and scores."""
    seeds = sorted(rows[base])
    whole = [row for row, of in rows.items() if set(seeds) <= set(of)]
    found = []
    for (name, score), (one, other) in ((s, pair) for s in scores.items() for pair in combinations(whole, 2)):
        values = [[score(rows[row][seed]) for seed in seeds] for row in (one, other)]
        found.append((name, one, other, compare({one: values[0]}, values[1])[one]))
    if not found or len(seeds) < 2:
        return []
    corrected = holm([comparison.p for *_, comparison in found])
    cells = [["better", "worse", "in", "by", "p (Holm)"]]
    for p, (name, one, other, comparison) in sorted(zip(corrected, found, strict=True), key=lambda pair: pair[0]):
        if p < ALPHA:
            pair = (one, other) if comparison.difference > 0 else (other, one)
            cells.append([*pair, name, f"{abs(comparison.difference):.3f}", number(p, ".2g")])
    said = (
        f"Pairs of the {len(whole)} rows that differ, of {len(found)} tests ({' and '.join(scores)}; Holm's correction "
        f"is for all of them): {len(cells) - 1}."
    )
    return ["", said, *(["", markdown(cells)] if len(cells) > 1 else [])]


def page(found: Mapping[str, Mapping[int, Run]]) -> str:
    """The page of all that was run."""
    lines = [
        "# Scenes: dense tasks with rare small classes",
        "",
        "Written by `python benchmarks/scenes.py`, from the runs in `scenes.jsonl`.",
        "",
        f"Settings: `{' '.join(SETTINGS)}`. These are short runs of 500 steps: the problem's own recipe has four times "
        "as many. Numbers are those of the test rooms, mean and standard deviation over seeds; tests are paired by "
        "seed, after Holm.",
    ]
    missing: list[str] = []

    def small(run: Run) -> float:
        return run["test"]["small_iou"]

    def score(run: Run) -> float:
        return relative_improvement(run["test"], reference, run["goals"])

    if found[PLAIN]:
        lines += [
            "",
            f"## The loss of the segmentation: seeds {_listed(found[PLAIN])}",
            "",
            "All other losses are the problem's own, with equal weights. Rows are compared by the mean intersection "
            "over union of the three small classes (0.3 to 0.5 % of the pixels each); `small x 20` has class weights "
            "of 20 for these.",
            "",
            table({row: found[row] for row in LOSSES}, PLAIN, small, "small_iou gained"),
        ]
        missing += [row for row in LOSSES if not set(found[PLAIN]) <= set(found[row])]
    if found[BASE]:
        goals = next(iter(found[BASE].values()))["goals"]
        reference = {name: fmean(run["test"][name] for run in found[BASE].values()) for name in goals}
        lines += [
            "",
            f"## The weighting: seeds {_listed(found[BASE])}",
            "",
            f"The segmentation has {BASE}, the other losses are the problem's own. The score is the mean relative "
            "improvement over equal weights. Weightings that measure gradients do so at every tenth step.",
            "",
            table({row: found[row] for row in WEIGHTINGS}, BASE, score, "score"),
            *apart({row: found[row] for row in WEIGHTINGS}, BASE, {"score": score, "small_iou": small}),
        ]
        missing += [row for row in WEIGHTINGS if not set(found[BASE]) <= set(found[row])]
    versions = next(run["versions"] for of in found.values() for run in of.values())
    lines += ["", f"- {', '.join(f'{name} {version}' for name, version in versions.items())}; CPU, one thread."]
    most = max(run["steps"] for of in found.values() for run in of.values())
    if fewer := {f"{row} ({run['steps']})" for row, of in found.items() for run in of.values() if run["steps"] < most}:
        lines.append(f"- Rows with fewer steps, since a part of their rooms is held out: {', '.join(sorted(fewer))}.")
    if missing:
        lines.append(f"- Not (wholly) run: {', '.join(dict.fromkeys(missing))}.")
    return "\n".join([*lines, ""])


def _listed(seeds: Mapping[int, Run]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def main(given: Sequence[str] | None = None) -> None:
    """Train what is missing and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS), help="only these rows")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--show", action="store_true", help="train nothing")
    options = parser.parse_args(given)
    for seed in options.seeds:
        for row in options.rows:
            if not options.show and seed not in recorded()[row]:
                print(row, seed, train_row(row, seed)["test"], flush=True)
    if any((found := recorded()).values()):
        TABLE.write_text(page(found))


if __name__ == "__main__":
    main()
