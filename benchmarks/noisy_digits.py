"""Weights of samples against 40 % wrong labels.

`python benchmarks/noisy_digits.py > benchmarks/results/noisy_digits.md`

The parameters of each method, and then the method, are chosen by the mean accuracy on clean validation data over one
set of seeds; what is shown comes from five other seeds, each with its own split, noise, initial weights and order of
the data, which uniform weights are trained on too. The test split chooses nothing.
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
from autoloss.training.loaders import loader

EPOCHS, BATCH, RATE, NOISE = 50, 64, 1e-3, 0.4
GRIDS: dict[str, dict[str, list[Any]]] = {
    "uniform": {},
    "data_parameters": {"lr": [10.0, 40.0]},
    "super_loss": {"lam": [0.25, 1.0]},
    "small_loss": {"rate": [0.3, 0.5], "ramp": [10]},
    "self_paced": {"form": ["logarithmic"], "keep": [0.7], "burn_in": [5]},
    "percentile": {"p": [0.6], "burn_in": [5], "slope": [1.0]},
    "focal": {"gamma": [2.0]},
    "top_k": {"share": [0.7]},
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
    return f"{fmean(values):+.1f} [{fmean(values) - half:+.1f}, {fmean(values) + half:+.1f}]"


def title(choice: Choice) -> str:
    """A method with its parameters."""
    return f"{choice[0]}({', '.join(f'{key}={value}' for key, value in choice[1])})"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choosing", type=int, default=3, help="how many seeds the choice is made on")
    parser.add_argument(
        "--first", type=int, default=0, help="of the seeds that are shown; the choice is made 100 later"
    )
    parser.add_argument("--keep", type=Path, default=None, help="a directory for what was run: the next time goes on")
    options = parser.parse_args()
    torch.set_num_threads(1)
    shown = range(options.first, options.first + options.seeds)
    choosing = range(options.first + 100, options.first + 100 + options.choosing)
    grid: dict[str, list[Choice]] = {
        name: [(name, tuple(zip(axes, values, strict=True))) for values in product(*axes.values())]
        for name, axes in GRIDS.items()
    }
    chosen: dict[str, dict[str, Choice]] = {"last": {}, "best": {}}
    by_validation: dict[str, dict[str, float]] = {"last": {}, "best": {}}
    for name, choices in grid.items():
        curves = {choice: [curve_of(choice, seed, options.keep) for seed in choosing] for choice in choices}
        for rule in (last, best):
            means = {choice: fmean(rule(curve)[0] for curve in of) for choice, of in curves.items()}
            pick = max(means, key=means.get)
            chosen[rule.__name__][name], by_validation[rule.__name__][name] = pick, means[pick]
    told = {f"{name} *": (name, tuple(parameters.items())) for name, parameters in TOLD.items()}
    everyone = {*chosen["last"].values(), *chosen["best"].values(), *told.values()}
    curves = {choice: [curve_of(choice, seed, options.keep) for seed in shown] for choice in everyone}
    print(f"# Noisy digits: {NOISE:.0%} symmetric noise\n")
    print(
        f"MLP 64-256-256-10, Adam {RATE:g}, batch {BATCH}, {EPOCHS} epochs. Accuracy on clean test data in percent, "
        f"mean over seeds {shown[0]} to {shown[-1]} (split, noise, initial weights and order anew); parameters chosen "
        f"by clean validation accuracy on seeds {choosing[0]} to {choosing[-1]}. Difference to uniform weights on the "
        "same seeds, 95 % interval (Student's t, paired). `*`: told the noise rate. "
        f"torch {torch.__version__}, CPU. Made by `python benchmarks/noisy_digits.py`.\n"
    )
    uniform = {rule: [rule(curve)[1] for curve in curves[chosen["last"]["uniform"]]] for rule in (last, best)}
    for rule, when in ((last, f"after {EPOCHS} epochs"), (best, "at the best validation epoch")):
        print(f"## {when[0].upper()}{when[1:]}\n\n| method | accuracy | difference to uniform |\n|---|---|---|")
        rows = {**chosen[rule.__name__], **told}
        scores = {name: [rule(curve)[1] for curve in curves[choice]] for name, choice in rows.items()}
        for name in sorted(rows, key=lambda name: -fmean(scores[name])):
            gains = [a - b for a, b in zip(scores[name], uniform[rule], strict=True)]
            star = " *" if name.endswith("*") else ""
            difference = "" if name == "uniform" else interval(gains)
            print(f"| {title(rows[name])}{star} | {fmean(scores[name]):.1f} | {difference} |")
        pick = max(by_validation[rule.__name__], key=by_validation[rule.__name__].get)
        gains = [a - b for a, b in zip(scores[pick], uniform[rule], strict=True)]
        print(f"\nChosen on validation: {title(rows[pick])}, {interval(gains)} points.\n", flush=True)


if __name__ == "__main__":
    main()
