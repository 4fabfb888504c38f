"""What a step of a member costs in a fleet, as a ratio to the same step alone.

python benchmarks/fleet.py [--today PATH] [--rounds 3] [--epochs 6] [--parts two_digits others]

``--today`` is the Python of another installation (version 0.1.0, say), whose `autoloss train` is measured in the same
run. All is CPU time of the process, on one thread. `autoloss train` is measured as the difference between a
long and a short run, so that its start does not count; a hand-written loop and a fleet, by their steps. The rows take
turns in each round, and the table shows medians.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn

from autoloss.core.clock import Clock
from autoloss.core.problem import Outputs, Problem, Term
from autoloss.core.registry.lookup import registry
from autoloss.problems._tensors import TensorTable
from autoloss.training.fleet.batches import StackedBatches, collated
from autoloss.training.fleet.fleet import Fleet
from autoloss.training.fleet.member import Member
from autoloss.training.step.build import build_loss, build_weighting
from autoloss.training.step.entries import table_of
from autoloss.training.step.player import Player

SIZES = (1, 2, 4, 8, 16, 32, 64)
WEIGHTINGS = ("equal", "uncertainty", "gradnorm", "mgda")
PARTS = ("two_digits", "others")
TRAIN, OTHER, OWN = "autoloss train", "autoloss train of the other installation", "a hand-written loop"


class Convolutions(Problem):
    """A small convolution with two heads, on drawn pictures."""

    terms = {"kind": "cross_entropy", "mean": "mse"}
    metrics = {"error": "min"}

    def datasets(self, seed: int) -> dict[str, TensorTable]:
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(512, 1, 28, 28, generator=generator)
        return {"train": TensorTable(x=x, kind=torch.randint(10, (512,), generator=generator), mean=x.mean((1, 2, 3)))}

    def network(self) -> nn.Module:
        layers = (
            nn.Conv2d(1, 16, 3, 2),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, 2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(1152, 64),
        )
        return nn.ModuleDict({"trunk": nn.Sequential(*layers), "kind": nn.Linear(64, 10), "mean": nn.Linear(64, 1)})

    def outputs(self, network: Any, batch: Any) -> Outputs:
        features = network["trunk"](batch["x"]).relu()
        kind, mean = (
            Term(network["kind"](features), batch["kind"]),
            Term(network["mean"](features)[:, 0], batch["mean"]),
        )
        return Outputs({"kind": kind, "mean": mean}, anchor=features)

    def measure(self, outputs: Outputs) -> dict[str, torch.Tensor]:
        kind = outputs.term("kind")
        return {"error": (kind.prediction.argmax(1) != kind.target).float()}


def member(problem: Problem, seed: int, weighting: str) -> Member:
    """A fresh member."""
    torch.manual_seed(seed)
    network = problem.network()
    losses = {name: build_loss(loss) for name, loss in problem.terms.items() if loss}
    player = Player(list(problem.terms), build_weighting(weighting))
    return Member(problem, network, losses, player, torch.optim.Adam(network.parameters(), lr=0.01))


def fleet_step(problem: Problem, size: int, weighting: str, batch_size: int) -> Callable[[], float]:
    """A step of a fleet; the seconds of a member-step."""
    data = problem.datasets(0)["train"]
    fleet = Fleet([member(problem, seed, weighting) for seed in range(size)])
    batches = StackedBatches([data] * size, range(size), batch_size)
    state: dict[str, Any] = {"step": 0, "epoch": iter(())}

    def step() -> float:
        begun = time.process_time()
        batch = next(state["epoch"], None)
        if batch is None:
            state["epoch"] = batches.epoch(state["step"])
            batch = next(state["epoch"])
        fleet.micro_batch(batch, Clock(state["step"], 0, min(1.0, state["step"] / 1000)))
        fleet.step()
        state["step"] += 1
        return (time.process_time() - begun) / size

    return step


def own_step(problem: Problem, weighting: str, batch_size: int) -> Callable[[], float]:
    """A step of a hand-written loop with the same losses and weighting."""
    data, one = problem.datasets(0)["train"], member(problem, 0, weighting)
    order: list[int] = []
    state = {"step": 0}

    def step() -> float:
        begun = time.process_time()
        if len(order) < batch_size:
            order[:] = torch.randperm(len(data)).tolist()  # type: ignore[arg-type]
        rows, order[:] = order[:batch_size], order[batch_size:]
        clock = Clock(state["step"], 0, min(1.0, state["step"] / 1000))
        outputs = problem.outputs(one.network, collated(data, rows))
        weighed = one.player.step(table_of(outputs, one.losses, one.player, clock), clock)
        assert weighed is not None
        one.optimizer.zero_grad()
        weighed.total.backward()
        one.player.commit()
        one.optimizer.step()
        state["step"] += 1
        return time.process_time() - begun

    return step


# In a process of its own: the start does not count, and another installation can be measured too.
TIMED = """
import sys, time, tempfile, pathlib, torch
from autoloss.app.composition import composed
try:
    from autoloss.app.train_one import train
except ImportError:  # 0.1.0
    from autoloss.app.run import train
torch.set_num_threads(1)
def seconds(epochs):
    config = composed("train", [*sys.argv[1:3], f"trainer.max_epochs={epochs}", "checkpoint.every=0", "threads=1"], [])
    with tempfile.TemporaryDirectory() as place:
        begun = time.process_time()
        train(config, pathlib.Path(place))
        return time.process_time() - begun
epochs, steps = int(sys.argv[3]), int(sys.argv[4])
seconds(1)
print((seconds(2 + epochs) - seconds(2)) / (epochs * steps))
"""


def trained(python: str, problem: str, weighting: str, epochs: int, steps: int, own: bool = True) -> float:
    """The CPU seconds of a step of `autoloss train`, from a short and a long run; ``own``: of this installation."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not own:
        environment.pop("PYTHONPATH", None)
    chosen = [f"problem={problem}", f"weighting={weighting}", str(epochs), str(steps)]
    with tempfile.TemporaryDirectory() as place:
        done = subprocess.run(
            [python, "-W", "ignore", "-c", TIMED, *chosen], cwd=place, env=environment, capture_output=True, text=True
        )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout.splitlines()[-1])


def measured(step: Callable[[], float], number: int) -> float:
    """The median of ``number`` steps, after some that do not count."""
    for _ in range(4):
        step()
    return median(step() for _ in range(number))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--today", default="")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, cpu, 1 thread, {given.rounds} rounds\n")
    if "two_digits" in given.parts:
        print(of_digits(given))
    if "others" in given.parts:
        print(of_others(given))


def by_training(given: argparse.Namespace, problem: str, weighting: str, epochs: int, steps: int) -> dict[str, float]:
    """The seconds of a step of `autoloss train`, of this installation and of the other one if it is given."""
    found = {TRAIN: trained(sys.executable, problem, weighting, epochs, steps)}
    if given.today:
        found[OTHER] = trained(str(Path(given.today).absolute()), problem, weighting, epochs, steps, own=False)
    return found


def of_digits(given: argparse.Namespace) -> str:
    """The table of `two_digits`."""
    digits, found = registry.build("problem", "two_digits"), defaultdict[tuple[str, str], list[float]](list)
    for _ in range(given.rounds):
        for weighting in WEIGHTINGS:
            costs = by_training(given, "two_digits", weighting, given.epochs, 32)
            costs[OWN] = measured(own_step(digits, weighting, 128), given.steps)
            for size in SIZES:
                step = fleet_step(digits, size, weighting, 128)
                costs[f"fleet of {size}"] = measured(step, max(4, given.steps // size))
            for row, cost in costs.items():
                found[weighting, row].append(cost)
    lines = ["`two_digits`: CPU milliseconds of a step of one training (and its part of a hand-written loop's)", ""]
    lines += ["| | " + " | ".join(WEIGHTINGS) + " |", "|---|" + "---|" * len(WEIGHTINGS)]
    for row in dict.fromkeys(row for _, row in found):
        cells = []
        for weighting in WEIGHTINGS:
            share = ratio(found[weighting, row], found[weighting, OWN])
            cells.append(f"{1000 * median(found[weighting, row]):.2f} ({share:.2f})")
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def of_others(given: argparse.Namespace) -> str:
    """The table of an equation and a convolution: a member-step in a fleet, as a part of a step in each other way."""
    cases = (
        ("klein_gordon", registry.build("problem", "klein_gordon"), 16, 128, 100),
        ("a convolution", Convolutions(), 8, 64, 0),
    )
    lines = ["| CPU milliseconds | in a fleet | " + " | ".join((OWN, TRAIN, OTHER)) + " |", "|---|" + "---|" * 4]
    for name, problem, size, batch, steps in cases:
        found = defaultdict[str, list[float]](list)
        for _ in range(given.rounds):
            costs = by_training(given, name, "equal", 2, steps) if steps else {}
            costs[OWN] = measured(own_step(problem, "equal", batch), given.steps)
            costs["fleet"] = measured(fleet_step(problem, size, "equal", batch), max(4, given.steps // size))
            for row, cost in costs.items():
                found[row].append(cost)
        cells = [f"{name}, {size} members", f"{1000 * median(found['fleet']):.2f}"]
        for row in (OWN, TRAIN, OTHER):
            part = f"{1000 * median(found[row]):.2f} ({ratio(found['fleet'], found[row]):.2f})" if row in found else ""
            cells.append(part)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "In parentheses: the part that a member-step in the fleet is of it.", ""])


def ratio(of: Sequence[float], over: Sequence[float]) -> float:
    """The median of the ratios within a round."""
    return median(a / b for a, b in zip(of, over, strict=True))


if __name__ == "__main__":
    main()
