"""What weightings gain on made-up problems: `python benchmarks/auto_zoo.py`.

By default on the families that no rule has seen (`--families learn` for those that `auto` was learned on). A row's gain
on a problem is the mean over metrics of log(metric of equal weights / metric), and the mean over initial networks.
Everything follows from `--seed`. `--values` hides the anchor, so that `auto` follows the values of the losses alone.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from autoloss._version import __version__
from autoloss.meta.worth import gains
from autoloss.meta.zoo.families import LEARN, UNSEEN, Draw, settings
from autoloss.meta.zoo.trainings import outcomes

BASELINE = "equal"
# The averages of the prototype: a decay of 0.9, and weights that sum to their number.
HALF = {"name": "auto", "norm": 0.5, "keep": 0.0, "decay": 0.9}
ROWS: Mapping[str, Any] = {
    BASELINE: BASELINE,
    "auto": "auto",
    "half balance": HALF,
    "full balance": {**HALF, "norm": 1.0},
    "uncertainty": "uncertainty",
    "imtl_l": "imtl_l",
    "gradnorm": "gradnorm",
    "dwa": "dwa",
}
VALUES = ("equal", "auto", "uncertainty", "imtl_l", "dwa")  # rows that need no anchor
MEAN, WORSE, SHARE = 0.08, -0.05, 1 / 20  # the bars for auto on families that it has not seen
KEPT = (
    "families",
    "only",
    "each",
    "problems",
    "starts",
    "seed",
    "longer",
    "values",
)  # options that a record was made with
Found = dict[str, dict[str, list[float]]]  # by row and family, the gain on each problem


def measured(
    families: Mapping[str, Draw], rows: Mapping[str, Any], options: argparse.Namespace, record: Path | None = None
) -> Found:
    """The gains of all rows; what is on ``record`` with the same ``options`` is not trained again."""
    key = {name: getattr(options, name) for name in KEPT}
    known = json.loads(record.read_text()) if record is not None and record.exists() else {}
    if known.get("options") != key:
        known = {"options": key, "rows": {}}
    found: Found = {row: {family: [] for family in families} for row in rows}
    for number, setting in enumerate(settings(families, options.each, options.problems, options.seed)):
        setting = replace(setting, steps=setting.steps * options.longer)
        place = f"{setting.family} {number % options.each}"
        titles = {row: f"{row} {json.dumps(rule, sort_keys=True)}" for row, rule in rows.items()}
        missing = {row: rule for row, rule in rows.items() if place not in known["rows"].get(titles[row], {})}
        if missing:
            begun = time.process_time()
            metrics = outcomes(setting, [BASELINE, *missing.values()], options.starts, not options.values)
            gained = gains(metrics[1:], metrics[:1]).mean(-1).tolist()
            for row, of in zip(missing, gained, strict=True):
                known["rows"].setdefault(titles[row], {})[place] = [round(gain, 5) for gain in of]
            if record is not None:
                record.write_text(json.dumps(known, indent=1) + "\n")
            shown = "  ".join(f"{row} {sum(of) / len(of):+.3f}" for row, of in zip(missing, gained, strict=True))
            seconds = time.process_time() - begun
            print(f"{place}, {setting.optimizer}, {setting.steps} steps, {seconds:.0f} s: {shown}", flush=True)
        for row in rows:
            found[row][setting.family] += known["rows"][titles[row]][place]
    return found


def table(found: Found) -> list[str]:
    """Rows of Markdown: the mean and its standard error, what gets worse, and each family's mean."""
    families = list(next(iter(found.values())))
    lines = [
        "| row | mean | standard error | below -0.05 | worst problem | " + " | ".join(families) + " |",
        "|---|" + "---|" * (4 + len(families)),
    ]
    for row, by_family in found.items():
        every = [gain for of in by_family.values() for gain in of]
        mean = sum(every) / len(every)
        error = math.sqrt(sum((gain - mean) ** 2 for gain in every) / max(len(every) - 1, 1) / len(every))
        cells = [f"{mean:+.3f}", f"{error:.3f}", f"{share_worse(every):.0%}", f"{min(every):+.2f}"]
        cells += [f"{sum(of) / len(of):+.3f}" for of in by_family.values()]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return lines


def share_worse(every: Sequence[float]) -> float:
    """The share of problems that get worse by more than the bar."""
    return sum(gain < WORSE for gain in every) / len(every)


def verdict(found: Found) -> list[str]:
    """Which bars `auto` misses."""
    ours = found["auto"]
    every = {row: [gain for of in by_family.values() for gain in of] for row, by_family in found.items()}
    means = {row: sum(of) / len(of) for row, of in every.items()}
    missed = []
    if means["auto"] < MEAN:
        missed.append(f"The mean is {means['auto']:+.3f}, the bar is {MEAN:+.2f}.")
    missed += [
        f"The mean of {name} is {sum(of) / len(of):+.3f}, the bar is above 0."
        for name, of in ours.items()
        if sum(of) <= 0
    ]
    if share_worse(every["auto"]) > SHARE:
        missed.append(f"{share_worse(every['auto']):.0%} of the problems are below {WORSE}, the bar is {SHARE:.0%}.")
    missed += [
        f"{row} has {mean:+.3f} in the mean, auto has {means['auto']:+.3f}."
        for row, mean in means.items()
        if row != "auto" and mean > means["auto"]
    ]
    return missed


def main() -> None:
    """Print the table; with `--out` write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", choices=["unseen", "learn"], default="unseen")
    parser.add_argument("--each", type=int, default=2, help="settings of each family")
    parser.add_argument("--problems", type=int, default=4, help="problems of each setting")
    parser.add_argument("--starts", type=int, default=2, help="initial networks of each problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longer", type=int, default=1, help="trainings of so many times the steps")
    parser.add_argument("--values", action="store_true", help="without an anchor")
    parser.add_argument("--only", nargs="+", default=None, help="some of the families")
    parser.add_argument("--rows", nargs="+", default=None)
    parser.add_argument(
        "--more", type=json.loads, default={}, help='further rows: {"steep": {"name": "auto", "norm": 1}}'
    )
    parser.add_argument("--record", type=Path, default=None, help="a JSON file of what was measured, and will be")
    parser.add_argument("--out", type=Path, default=None, help="a file of Markdown to append the table to")
    options = parser.parse_args()
    torch.set_num_threads(1)
    families = UNSEEN if options.families == "unseen" else LEARN
    families = {name: of for name, of in families.items() if name in (options.only or families)}
    names = options.rows or (VALUES if options.values else list(ROWS))
    rows = {**{name: ROWS[name] for name in names}, **options.more}
    found = measured(families, rows, options, options.record)
    count = options.each * options.problems * len(families)
    lines = [
        f"Families {'never seen' if options.families == 'unseen' else 'that auto was learned on'}"
        f"{', without an anchor' if options.values else ''}"
        f"{f', trained {options.longer} times as long' if options.longer > 1 else ''}: {count} problems, "
        f"{options.starts} initial network{'s' if options.starts > 1 else ''} each, "
        f"seed {options.seed}; autoloss {__version__}, torch {torch.__version__}.",
        "",
        *table(found),
    ]
    if "auto" in rows:
        lines += ["", *(verdict(found) or ["Every bar is met."])]
    print("\n" + "\n".join(lines))
    if options.out is not None:
        with options.out.open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))


if __name__ == "__main__":
    main()
