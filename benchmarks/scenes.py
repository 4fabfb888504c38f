"""Dense tasks with rare small classes: which loss for them, and which weighting? `python benchmarks/scenes.py`

Trains each row on each seed and writes benchmarks/results/scenes.md. A run that is in benchmarks/results/scenes.jsonl
already, with the same settings, is not trained again, so that the command goes on where it was stopped. --rows trains
only some rows, --seeds only some seeds, and --show none.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from autoloss.core.io.text_table import markdown, number
from autoloss.core.metrics.score import relative_improvement
from autoloss.search.verdict import compare

RESULTS = Path(__file__).with_name("results")
TABLE, RUNS = RESULTS / "scenes.md", RESULTS / "scenes.jsonl"
SETTINGS = ("problem=scenes", "problem.rooms=600", "trainer.max_epochs=10", "trainer.check_val_every_n_epoch=10")
SETTINGS += ("record.every=1000", "checkpoint.every=0", "trainer.accelerator=cpu", "threads=1", "test=true")
BASE = "cross_entropy, equal"
LOSSES: Mapping[str, tuple[str, ...]] = {
    BASE: (),
    "dice": ("losses.segmentation=dice",),
    "focal": ("losses.segmentation=focal",),
    "cross_entropy and dice": ("losses.segmentation=[cross_entropy,dice]",),
    "lovasz": ("losses.segmentation=lovasz",),
}
TENTH = "weighting.wrap=[{every_n:{n:10}}]"
WEIGHTINGS: Mapping[str, tuple[str, ...]] = {
    BASE: (),
    "uncertainty": ("weighting=uncertainty",),
    "gradnorm": ("weighting=gradnorm", TENTH),
    "imtl_l": ("weighting=imtl_l",),
    "dwa": ("weighting=dwa",),
    "cagrad": ("weighting=cagrad", TENTH),
    "mgda": ("weighting=mgda", TENTH),
    "rlw": ("weighting=rlw",),
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


def table(rows: Mapping[str, Mapping[int, Run]], score: Any, what: str) -> str:
    """Means and deviations of the rows with the seeds of the base, the best ``score`` (of a run) first."""
    seeds = sorted(rows[BASE])
    whole = {row: [of[seed] for seed in seeds] for row, of in rows.items() if set(seeds) <= set(of)}
    scores = {row: [score(run) for run in of] for row, of in whole.items()}
    others = {row: of for row, of in scores.items() if row != BASE}
    compared = compare(others, scores[BASE]) if others and len(seeds) > 1 else {}
    cells = [["row", *SHOWN, what, "95 % interval", "p (Holm)", "verdict"]]
    for row in sorted(whole, key=lambda row: -fmean(scores[row])):
        line = [row]
        for metric in SHOWN:
            values = [run["test"][metric] for run in whole[row]]
            line.append(f"{fmean(values):.3g}" + (f" ± {stdev(values):.1g}" if len(values) > 1 else ""))
        line.append(f"{fmean(scores[row]) - fmean(scores[BASE]):+.4f}")
        if (one := compared.get(row)) is not None:
            line += [f"{one.low:+.4f} to {one.high:+.4f}", number(one.p_corrected, ".3g"), one.words]
        else:
            line += ["", "", "the baseline" if row == BASE else ""]
        cells.append(line)
    return markdown(cells)


def page(found: Mapping[str, Mapping[int, Run]]) -> str:
    """The page of all that was run."""
    seeds = sorted(found[BASE])
    goals = found[BASE][seeds[0]]["goals"]
    reference = {name: fmean(found[BASE][seed]["test"][name] for seed in seeds) for name in goals}

    def improvement(run: Run) -> float:
        return relative_improvement(run["test"], reference, run["goals"])

    versions = ", ".join(f"{name} {version}" for name, version in found[BASE][seeds[0]]["versions"].items())
    how = "There is one seed, so nothing is tested."
    if len(seeds) > 1:
        shown = ", ".join(map(str, seeds))
        how = f"Mean and standard deviation over the seeds {shown}; tests are paired by seed, after Holm."
    losses = [run for row in LOSSES for run in found[row].values()]
    blind = (
        "" if any(run["test"]["small_iou"] for run in losses) else " In this time none of the losses finds any of them."
    )
    missing = [row for row, of in found.items() if not set(seeds) <= set(of)]
    lines = [
        "# Scenes: dense tasks with rare small classes",
        "",
        "Written by `python benchmarks/scenes.py`, from the runs in `scenes.jsonl`.",
        "",
        f"Settings: `{' '.join(SETTINGS)}`. These are short runs: the problem's own recipe trains more than twice as "
        f"long. Numbers are those of the test rooms. {how}",
        "",
        "## The loss of the segmentation",
        "",
        "All other losses are the problem's own, with equal weights. Rows are compared by the mean intersection over "
        f"union of the three small classes (0.2 to 0.3 % of the pixels each).{blind}",
        "",
        table({row: found[row] for row in LOSSES}, lambda run: run["test"]["small_iou"], "small_iou gained"),
        "",
        "## The weighting",
        "",
        "All losses are the problem's own. The score is the mean relative improvement over equal weights. Weightings "
        "that measure gradients do so at every tenth step.",
        "",
        table({row: found[row] for row in WEIGHTINGS}, improvement, "score"),
        "",
        f"- {versions}; CPU, one thread.",
    ]
    if missing:
        lines.append(f"- Not (wholly) run: {', '.join(missing)}.")
    return "\n".join([*lines, ""])


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
    if (found := recorded())[BASE]:
        TABLE.write_text(page(found))


if __name__ == "__main__":
    main()
