"""Which weights of noise levels help a diffusion model.

`python benchmarks/noise_levels.py > benchmarks/results/noise_levels.md`

Trains `digits_diffusion` for each of SETTINGS and RULES with the same seeds, and tests it: digits are made from noise
and compared with test digits. The rules' parameters are their defaults; nothing is chosen. A run whose summary is in
--kept already is not trained again.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from scipy.stats import t as student

from autoloss.app.composition import composed
from autoloss.app.fleet_request import Request
from autoloss.app.fleet_runs import FleetRuns

# What the network predicts, and where its levels come from; EDM scales its network so that it is near to v.
SETTINGS = ("epsilon,cosine", "v,cosine", "x0,edm", "v,edm")
RULES = ("uniform", "min_snr", "edm", "p2", "sigmoid", "level_uncertainty")
COMMON = ("record.every=1000", "checkpoint.every=0", "trainer.accelerator=cpu", "test=true")
METRICS = ("frechet", "class_error")


def trained(setting: str, rule: str, epochs: int, seeds: Sequence[int], kept: Path) -> list[dict[str, Any]]:
    """The test metrics of each seed."""
    target, schedule = setting.split(",")
    overrides = [f"problem.target={target}", f"problem.schedule={schedule}", f"sample_weighting={rule}"]
    overrides = ["problem=digits_diffusion", *overrides, f"trainer.max_epochs={epochs}", *COMMON]
    places = {seed: kept / f"{target}-{schedule}-{rule}-{epochs}-{seed}" for seed in seeds}
    missing = [seed for seed, place in places.items() if not (place / "test.json").exists()]
    requests = [
        Request(composed("train", [*overrides, f"seed={seed}"]), places[seed], [*overrides, f"seed={seed}"])
        for seed in missing
    ]
    for seed, result in zip(missing, FleetRuns(len(requests)).train(requests) if requests else (), strict=True):
        if isinstance(result, BaseException):
            raise result
        (places[seed] / "test.json").write_text(json.dumps(dict(result["test_metrics"])))
    return [json.loads((place / "test.json").read_text()) for place in places.values()]


def row(found: Sequence[Mapping[str, float]], uniform: Sequence[Mapping[str, float]]) -> list[str]:
    """Both metrics, each with its mean change against uniform weights of the same seeds."""
    (distances, wrongs), (others, others_wrong) = (
        [[100**power * one[metric] for one in of] for metric, power in zip(METRICS, (0, 1), strict=True)]
        for of in (found, uniform)
    )
    relative = [100 * (one / other - 1) for one, other in zip(distances, others, strict=True)]
    points = [one - other for one, other in zip(wrongs, others_wrong, strict=True)]
    same = found is uniform
    return [
        f"{fmean(distances):.1f}",
        "" if same else f"{interval(relative)} %",
        f"{fmean(wrongs):.2f} %",
        "" if same else interval(points),
    ]


def interval(each: Sequence[float]) -> str:
    """The mean and its 95 % interval."""
    if len(each) < 2:
        return f"{each[0]:+.1f}"
    return f"{fmean(each):+.1f} ± {student.ppf(0.975, len(each) - 1) * stdev(each) / len(each) ** 0.5:.1f}"


def main() -> None:
    """Print a table for each setting and length."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, nargs="+", default=[1])
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), metavar="TARGET,SCHEDULE")
    parser.add_argument("--rules", nargs="+", default=list(RULES))
    parser.add_argument("--kept", type=Path, default=Path("outputs/noise_levels"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    command = " ".join(["python benchmarks/noise_levels.py", *sys.argv[1:]])
    print("# Which weights of noise levels help a diffusion model\n")
    print(
        f"`digits_diffusion`, seeds {options.seeds}, torch {torch.__version__}; an epoch is 50 draws of level and "
        "noise for each of 1000 digits, 391 steps. Test metrics of about a thousand digits that were made by DDIM in "
        "25 steps: the Frechet distance in a classifier's features, and how often that classifier sees another class "
        "than was asked for. Changes are those against uniform weights with the same seed, in percent and in points, "
        "with the 95 % interval of their mean; a minus is better. Rules with their defaults. Made by "
        f"`{command}`.\n"
    )
    for epochs, setting in product(options.epochs, options.settings):
        target, schedule = setting.split(",")
        print(f"## The network predicts {target}, schedule {schedule}, {epochs} epoch{'s' * (epochs > 1)}\n")
        print("| rule | Frechet | change | wrong class | change |\n|---|---|---|---|---|", flush=True)
        uniform: list[dict[str, float]] = []
        for rule in options.rules:
            found = trained(setting, rule, epochs, options.seeds, options.kept)
            uniform = uniform or found
            print(f"| {rule} | " + " | ".join(row(found, uniform)) + " |", flush=True)
        print()


if __name__ == "__main__":
    main()
