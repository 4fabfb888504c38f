"""Weights of samples against 40 % wrong labels.

`python benchmarks/noisy_digits.py > benchmarks/results/noisy_digits.md`

The parameters of each method, and then the method, are chosen by the mean accuracy on clean validation data. The test
split chooses nothing. Seeds draw everything anew: split, noise, initial weights and the order of the data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from itertools import product
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from scipy.stats import t as student
from torch import Tensor

from autoloss import Balancer, Entry
from autoloss.problems.noisy_digits import NoisyDigits
from autoloss.training.lightning.loaders import loader

EPOCHS, BATCH, RATE, NOISE = 50, 64, 1e-3, 0.4
# Values that had done well on seeds 100 to 103. With the hard rules that begin from the first step (`percentile`,
# `self_paced` without a burn-in) the network believed its own first guesses there, and ended below 70 %.
GRIDS: dict[str, dict[str, list[Any]]] = {
    "uniform": {},
    "data_parameters": {"lr": [40.0, 10.0]},
    "super_loss": {"lam": [1.0]},
    "small_loss": {"rate": [0.5], "ramp": [10]},
    # With their defaults.
    **{name: {} for name in ("self_paced", "percentile", "focal", "top_k", "class_balanced")},
}
TOLD: dict[str, dict[str, Any]] = {"small_loss": {"rate": NOISE, "ramp": 10}}
Choice = tuple[str, tuple[tuple[str, Any], ...]]


def curve_of(choice: Choice, seed: int, kept: Path | None) -> list[tuple[float, float]]:
    """What :func:`run` gives, from the directory ``kept`` if it has been run before."""
    if kept is None:
        return run(choice, seed)
    path = kept / f"{hashlib.sha256(title(choice).encode()).hexdigest()[:16]}-{seed}.json"
    if not path.exists():
        kept.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(run(choice, seed)))
    return [tuple(pair) for pair in json.loads(path.read_text())]


def run(choice: Choice, seed: int) -> list[tuple[float, float]]:
    """The accuracies on validation and test after each epoch, in percent."""
    name, parameters = choice
    torch.manual_seed(seed)
    problem = NoisyDigits(noise=NOISE)
    data = problem.datasets(seed)
    network = problem.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    steps = EPOCHS * -(-len(data["train"]) // BATCH)
    balancer = Balancer(
        ["digit"],
        "equal",
        total_steps=steps,
        samples=len(data["train"]),
        sample_weighting={"name": name, **dict(parameters)},
    )
    batches = loader(data["train"], BATCH, seed, shuffle=True)
    found = []
    for epoch in range(EPOCHS):
        balancer.set_epoch(epoch)
        batches.sampler.set_epoch(epoch)
        for batch in batches:
            outputs = problem.outputs(network, batch)
            term = outputs.term("digit")
            logits = balancer.temper("digit", term.prediction, batch["index"], batch["label"])
            losses = torch.nn.functional.cross_entropy(logits, batch["label"], reduction="none")
            entry = Entry(losses, labels=batch["label"])
            total = balancer({"digit": entry}, index=batch["index"], keys=outputs.keys)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        with torch.no_grad():
            found.append(tuple(accuracy(network, data[split].columns) for split in ("val", "test")))
    return found


def accuracy(network: torch.nn.Module, table: dict[str, Tensor]) -> float:
    """In percent."""
    return 100 * float((network(table["image"]).argmax(1) == table["label"]).float().mean())


def last(curve: list[tuple[float, float]]) -> tuple[float, float]:
    """Validation and test accuracy after the last epoch."""
    return curve[-1]


def best(curve: list[tuple[float, float]]) -> tuple[float, float]:
    """Both after the epoch that is best on validation, the first of several."""
    return max(curve, key=lambda pair: pair[0])


def interval(values: list[float]) -> str:
    """The mean and its 95 % interval by Student's t."""
    half = student.ppf(0.975, len(values) - 1) * stdev(values) / len(values) ** 0.5
    return f"{fmean(values):+.2f} [{fmean(values) - half:+.2f}, {fmean(values) + half:+.2f}]"


def title(choice: Choice) -> str:
    """A method with its parameters."""
    return f"{choice[0]}({', '.join(f'{key}={value}' for key, value in choice[1])})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument(
        "--keep", type=Path, default=None, help="a directory for finished runs; the next call uses them"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = range(options.seeds)
    grid: dict[str, list[Choice]] = {
        name: [(name, tuple(zip(axes, values, strict=True))) for values in product(*axes.values())]
        for name, axes in GRIDS.items()
    }
    told = {f"{name} *": (name, tuple(parameters.items())) for name, parameters in TOLD.items()}
    everyone = dict.fromkeys([*(choice for choices in grid.values() for choice in choices), *told.values()])
    curves = {choice: [curve_of(choice, seed, options.keep) for seed in seeds] for choice in everyone}
    print(f"# Noisy digits: {NOISE:.0%} symmetric noise\n")
    print(
        f"MLP 64-256-256-10, Adam {RATE:g}, batch {BATCH}, {EPOCHS} epochs. Accuracy on clean test data in percent, "
        f"mean over seeds {seeds[0]} to {seeds[-1]}, each with its own split, noise, initial weights and order of the "
        "data. A method's parameters, and the method, are those with the best mean accuracy on clean validation data. "
        "Difference to uniform weights on the same seeds, 95 % interval (Student's t, paired). `*`: told the noise "
        f"rate. torch {torch.__version__}, CPU. Made by `python benchmarks/noisy_digits.py`."
    )
    for rule, when in ((last, f"After {EPOCHS} epochs"), (best, "At the best validation epoch")):
        scores = {choice: [rule(curve) for curve in of] for choice, of in curves.items()}
        validation = {choice: fmean(pair[0] for pair in of) for choice, of in scores.items()}
        test = {choice: [pair[1] for pair in of] for choice, of in scores.items()}
        uniform = test["uniform", ()]
        rows = {name: max(choices, key=validation.get) for name, choices in grid.items()}
        gains = {c: [a - b for a, b in zip(values, uniform, strict=True)] for c, values in test.items()}
        print(f"\n## {when}\n\n| method | accuracy | difference to uniform |\n|---|---|---|")
        shown = [*rows.items(), *told.items()]
        for name, choice in sorted(shown, key=lambda row: -fmean(test[row[1]])):
            star = " *" if name.endswith("*") else ""
            difference = "" if name == "uniform" else interval(gains[choice])
            print(f"| {title(choice)}{star} | {fmean(test[choice]):.1f} | {difference} |")
        pick = max(rows.values(), key=validation.get)
        print(f"\nChosen on validation: {title(pick)}, {interval(gains[pick])} points.", flush=True)


if __name__ == "__main__":
    main()
