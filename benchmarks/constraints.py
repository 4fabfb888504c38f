"""Bounds: whether they are held at the end, and their price in the other metrics.

`python benchmarks/constraints.py > benchmarks/results/constraints.md`

Three seeds, the same settings with and without the bound. `digits_vae_gan` bounds a loss in training, `two_digits` a
metric of the validation data. Its test split is measured too: the bound is not held there by construction.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from statistics import fmean

from autoloss.app.composition import composed
from autoloss.app.overrides import rewritten
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train

SEEDS = (0, 1, 2)
RUNS = {
    "digits_vae_gan": (
        ["problem=digits_vae_gan", "trainer.max_epochs=60"],
        [["constraints.kl.max=12"]],
    ),
    "two_digits": (
        ["problem=two_digits", "trainer.max_epochs=30", "test=true"],
        [
            ["constraints.left_error.max=0.05", "constraints.left_error.loss=left"],
            ["constraints.left_error.max=0.045", "constraints.left_error.loss=left", "constraints.left_error.rate=0.3"],
        ],
    ),
}


def one(overrides: list[str], seed: int) -> tuple[dict[str, float], dict[str, float]]:
    """The metrics and losses at the end of a run, and its value, slack and multiplier if it has a bound."""
    config = composed("train", rewritten([*overrides, f"seed={seed}", "checkpoint.every=0"]))
    with tempfile.TemporaryDirectory() as place:
        summary = train(config, Path(place), prepared=prepare(config))
    test = {f"{name} (test)": value for name, value in summary.get("test_metrics", {}).items()}
    bound = next(iter(summary.get("constraints", {}).values()), {})
    return {**summary["metrics"], **test}, {k: bound[k] for k in ("value", "bound", "multiplier") if k in bound}


def main() -> None:
    print("# Bounds: are they held, and what do they cost?\n")
    print("`python benchmarks/constraints.py`; three seeds, a row is a run. The value of a loss is its mean over about")
    print("ten steps at the end. `mean` compares with the runs without a bound.\n")
    for problem, (settings, bounds) in RUNS.items():
        table: list[tuple[str, list[tuple[dict[str, float], dict[str, float]]]]] = []
        for bound in [[], *bounds]:
            found = [one([*settings, *bound], seed) for seed in SEEDS]
            sys.stderr.write(f"{problem} {bound} {found}\n")
            table.append((" ".join(bound), found))
        names = list(table[0][1][0][0])
        print(f"## {problem}\n\n`autoloss train {' '.join(settings)}`\n")
        print(f"| | seed | {' | '.join(names)} | value / bound | multiplier |")
        print("|---|---|" + "---|" * (len(names) + 2))
        for title, found in table:
            for seed, (metrics, bound) in zip(SEEDS, found, strict=True):
                held = f"{bound['value'] / bound['bound']:.3f} | {bound['multiplier']:.3g}" if bound else " | "
                cells = " | ".join(f"{metrics[name]:.4g}" for name in names)
                print(f"| {title or 'no bound'} | {seed} | {cells} | {held} |")
            means = [fmean(metrics[name] for metrics, _ in found) for name in names]
            free = [fmean(metrics[name] for metrics, _ in table[0][1]) for name in names]
            shown = [f"{m:.4g}" + (f" ({m / f - 1:+.0%})" if title else "") for m, f in zip(means, free, strict=True)]
            print(f"| {title or 'no bound'} | mean | {' | '.join(shown)} | | |")
        print(flush=True)


if __name__ == "__main__":
    main()
