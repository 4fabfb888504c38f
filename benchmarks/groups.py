"""Groups: the error of the worst group, by what weighs samples or the losses of groups.

`python benchmarks/groups.py > benchmarks/results/groups.md`

`shortcut_digits` with its defaults, five seeds: the mean over seeds, and how many seeds have a better worst group than
with the plain mean. `excess` compares with the losses of a run of the same seed with equal weights of the groups.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import fmean, stdev

from autoloss.app.composition import composed
from autoloss.app.overrides import rewritten
from autoloss.app.prepare import prepare
from autoloss.app.train_one import train

SEEDS = range(5)
BY = "losses.odd.by=group"
DRO = ["sample_weighting=group_dro", "sample_weighting.key=group"]
ROWS = {
    "the mean of all samples": [],
    "sample_weighting=group_dro": DRO,
    "sample_weighting=group_dro, step 0.1": [*DRO, "sample_weighting.step=0.1"],
    "sample_weighting=group_dro, adjustment 1": [*DRO, "sample_weighting.adjustment=1"],
    "a loss of each group, weighting=equal": [BY],
    "a loss of each group, weighting=worst_k k=1": [BY, "weighting=worst_k"],
    "a loss of each group, weighting=worst_k k=2": [BY, "weighting=worst_k", "weighting.k=2"],
    "a loss of each group, weighting=excess": [BY, "weighting=excess"],
    "a loss of each group, weighting=excess, reference": [BY, "weighting=excess", "weighting.reference={reference}"],
}


def trained(overrides: list[str], seed: int, place: Path) -> dict[str, float]:
    """The metrics of a run on validation and test data."""
    whole = ["problem=shortcut_digits", *overrides, f"seed={seed}", "test=true", "checkpoint.every=0"]
    config = composed("train", rewritten(whole))
    summary = train(config, place, prepared=prepare(config))
    return {**summary["metrics"], **{f"test {name}": value for name, value in summary["test_metrics"].items()}}


def main() -> None:
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as root:
        reference = Path(root, "a loss of each group, weighting=equal")
        for title, overrides in ROWS.items():
            found[title] = [
                trained(
                    [one.format(reference=reference / str(seed)) for one in overrides],
                    seed,
                    Path(root, title, str(seed)),
                )
                for seed in SEEDS
            ]
    plain = [one["test error_worst"] for one in found["the mean of all samples"]]
    print("# Groups: the error of the worst group\n")
    print(f"`python benchmarks/groups.py`: `autoloss train problem=shortcut_digits ...`, {len(plain)} seeds. Errors on")
    print("test data; the worst group is chosen there too, for each seed. In brackets: the deviation over seeds.\n")
    print("| | mean of the groups | worst group | better than the mean of all | worst group, validation |")
    print("|---|---|---|---|---|")
    for title, runs in found.items():
        worst = [one["test error_worst"] for one in runs]
        better = "" if worst == plain else f"{sum(a < b for a, b in zip(worst, plain, strict=True))} of {len(plain)}"
        cells = [f"{fmean(of):.3f} ({stdev(of):.3f})" for of in ([one["test error"] for one in runs], worst)]
        print(f"| {title} | {cells[0]} | {cells[1]} | {better} | {fmean(one['error_worst'] for one in runs):.3f} |")


if __name__ == "__main__":
    main()
