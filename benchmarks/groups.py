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
from autoloss.app.fleet_request import Request, Trained
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.overrides import rewritten

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


def request(title: str, seed: int, root: Path) -> Request:
    """The run of a row with a seed."""
    reference = _place("a loss of each group, weighting=equal", seed, root)
    overrides = [one.format(reference=reference) for one in ROWS[title]]
    fixed = [f"seed={seed}", "test=true", "checkpoint.every=0", "trainer.accelerator=cpu"]
    config = composed("train", rewritten(["problem=shortcut_digits", *overrides, *fixed]))
    return Request(config, _place(title, seed, root), overrides, title)


def _place(title: str, seed: int, root: Path) -> Path:
    return root / f"{list(ROWS).index(title)}" / str(seed)


def metrics_of(summary: Trained) -> dict[str, float]:
    """The metrics on validation and test data."""
    if isinstance(summary, Exception):
        raise summary
    return {**summary["metrics"], **{f"test {name}": value for name, value in summary["test_metrics"].items()}}


def main() -> None:
    found: dict[str, list[dict[str, float]]] = {title: [] for title in ROWS}
    fleets = FleetRuns(says=lambda line: None)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        for titles in (list(ROWS)[:-1], list(ROWS)[-1:]):
            of = [(title, request(title, seed, root)) for title in titles for seed in SEEDS]
            for (title, _), summary in zip(of, fleets.train([one for _, one in of]), strict=True):
                found[title].append(metrics_of(summary))
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
