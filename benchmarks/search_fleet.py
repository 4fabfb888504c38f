"""Whether a search in fleets finds as much as one trial after the other, and what it costs.

python benchmarks/search_fleet.py quality [--sizes 1,16] [--searches 5] [--trials 64] [--epochs 10] [--pruner JSON]
python benchmarks/search_fleet.py cost --today PATH

quality: searches of `two_digits` with seeds 0, 1, ...; the score of each winner on fresh seeds and test data, with one
trial after the other (1) and with several at once. Searches with the same number at once run side by side: what they
ask for is trained as one fleet, since a member equals the run alone.
cost: CPU time of a search of 64 trials and its confirmation of 4 x 5 runs, over that of 20 runs of `autoloss train` of
another installation (PATH is its Python, of version 0.1.0, say), four with each weighting that the search tries. Both
without start and imports, on one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from optuna import create_study, logging

from autoloss.app.composition import composed
from autoloss.app.config_runner import ConfigRunner
from autoloss.app.fleet_request import Request
from autoloss.app.fleet_runs import FleetRuns
from autoloss.app.search_space import build_space
from autoloss.core.registry.lookup import registry
from autoloss.search.confirm import chosen, confirm, winner
from autoloss.search.engine import Search, Settings
from autoloss.search.runner import Task
from autoloss.search.samplers import build_pruner, build_sampler

PLACE = Path("outputs/search_fleet")
WEIGHTINGS = ("equal", "fixed", "uncertainty", "dwa", "gradnorm")

# CPU time of what the arguments say, in a process that has imported everything.
SEARCH = """
import sys, time, torch
import autoloss.app.config_runner, autoloss.search.engine, autoloss.app.train_one
from autoloss.app.main import main
torch.set_num_threads(1)
begun = time.process_time()
code = main(sys.argv[1:])
print(time.process_time() - begun)
sys.exit(code)
"""
TRAIN = """
import sys, time, tempfile, pathlib, torch
from autoloss.app.composition import composed
try:
    from autoloss.app.train_one import train
except ImportError:  # 0.1.0
    from autoloss.app.run import train
torch.set_num_threads(1)
def one(*overrides):
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        train(composed("train", ["problem=two_digits", "threads=1", *overrides], []), pathlib.Path(place))
    return time.process_time() - begun
one("trainer.max_epochs=1")
names, more = sys.argv[1].split(","), sys.argv[2:]
print(sum(one(f"weighting={name}", f"seed={seed}", *more) for name in names for seed in range(4)))
"""


def seconds(python: str, script: str, *arguments: str, place: Path, own: bool = True) -> float:
    """The CPU seconds that ``script`` prints last; ``own``: of this installation."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if not own:
        environment.pop("PYTHONPATH", None)
    place.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [python, "-W", "ignore", "-c", script, *arguments], cwd=place, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return float(done.stdout.splitlines()[-1])


class Together:
    """Trains what several searches ask for at the same time, as soon as all of them have asked."""

    def __init__(self, searches: int) -> None:
        self.fleet = FleetRuns(says=lambda line: None)
        self.waiting: dict[int, list[Request]] = {}
        self.found: dict[int, list[Any]] = {}
        self.active, self.turn = set(range(searches)), threading.Condition()

    def train(self, search: int, requests: list[Request]) -> list[Any]:
        """The results of ``requests``."""
        with self.turn:
            self.waiting[search] = requests
            self._go()
            self.turn.wait_for(lambda: search in self.found)
            return self.found.pop(search)

    def leave(self, search: int) -> None:
        """This search asks for nothing more."""
        with self.turn:
            self.active.discard(search)
            self._go()

    def _go(self) -> None:
        if self.active and self.active == set(self.waiting):
            trained = iter(self.fleet.train([one for requests in self.waiting.values() for one in requests]))
            self.found = {search: [next(trained) for _ in requests] for search, requests in self.waiting.items()}
            self.waiting.clear()
            self.turn.notify_all()


class Shared:
    """The part of :class:`FleetRuns` that a runner calls, for one of several searches."""

    def __init__(self, together: Together, search: int, most: int) -> None:
        self.all, self.search, self.most = together, search, most

    def alone(self, request: Request) -> Any:
        """The result of one run."""
        (found,) = self.all.train(self.search, [request])
        if isinstance(found, Exception):
            raise found
        return found

    def together(self, requests: list[Request]) -> Iterator[tuple[int, Any]]:
        """The results of several, by their numbers."""
        yield from enumerate(self.all.train(self.search, requests))


class Composing(ConfigRunner):
    """A runner that composes while no other one does: Hydra has one state for all threads."""

    turn = threading.Lock()

    def _requests(self, task: Task) -> list[Request]:
        with self.turn:
            return super()._requests(task)


def confirmed(together: Together, size: int, seed: int, given: argparse.Namespace) -> float:
    """The winner's mean score on test data, of a search with ``size`` trials at once."""
    try:
        return _confirmed(together, size, seed, given)
    finally:
        together.leave(seed)


def _confirmed(together: Together, size: int, seed: int, given: argparse.Namespace) -> float:
    place = PLACE / f"{size}_{seed}"
    shutil.rmtree(place, ignore_errors=True)
    settings = ["problem=two_digits", f"trainer.max_epochs={given.epochs}", "checkpoint.every=0", "threads=1"]
    with Composing.turn:
        config = composed("search", [*settings, f"seed={seed}"])
    problem = registry.build("problem", "two_digits")
    space = build_space(config, problem)
    study = create_study(direction="maximize")
    study.pruner = build_pruner(json.loads(given.pruner), 1, 0)
    study.sampler = build_sampler({"name": "tpe"}, seed, 1, space.branches, given.trials, size)
    runner = Composing(settings, [], fleet=Shared(together, seed, size))  # type: ignore[arg-type]
    limits = Settings(given.trials, seed=seed, fleet=size)
    search = Search(study, space, runner, problem.metrics, limits, place, lambda line: None)
    search.plan(turns=True)
    search.work()
    found = confirm(runner, chosen(study, 3), problem.metrics, given.confirm_seeds, place, seed, 32)
    return fmean(winner(found).test)


def quality(given: argparse.Namespace) -> None:
    """Print the table of scores."""
    torch.set_num_threads(1)
    logging.set_verbosity(logging.WARNING)
    seeds = range(given.searches)
    print("| trials at once | mean | deviation | " + " | ".join(f"seed {seed}" for seed in seeds) + " |")
    print("|---|---|---|" + "---|" * len(seeds), flush=True)
    for size in map(int, given.sizes.split(",")):
        together = Together(len(seeds))
        with ThreadPoolExecutor(len(seeds)) as pool:
            scores = list(pool.map(confirmed, repeat(together), repeat(size), seeds, repeat(given)))
        cells = " | ".join(f"{score:+.4f}" for score in scores)
        print(f"| {size} | {fmean(scores):+.4f} | {stdev(scores):.4f} | {cells} |", flush=True)


def cost(today: str, trials: int, epochs: int) -> None:
    """Print the ratio."""
    length = f"trainer.max_epochs={epochs}"
    with tempfile.TemporaryDirectory() as place:
        shared = ("search", "problem=two_digits", "name=cost", f"search.n_trials={trials}", "threads=1", length)
        searched = seconds(sys.executable, SEARCH, *shared, place=Path(place))
        names = ",".join(WEIGHTINGS)
        old = seconds(str(Path(today).absolute()), TRAIN, names, length, place=Path(place), own=False)
    print(f"search of {trials} trials and its confirmation: {searched:.1f} s")
    print(f"{4 * len(WEIGHTINGS)} runs of the other installation: {old:.1f} s")
    print(f"ratio: {searched / old:.2f}")


def main() -> None:
    """Measure what the arguments say."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("quality", "cost"))
    parser.add_argument("--today", default=sys.executable)
    parser.add_argument("--sizes", default="1,16")
    parser.add_argument("--searches", type=int, default=5)
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--pruner", default='{"name": "none"}', help="as search.pruner, in JSON")
    parser.add_argument("--confirm-seeds", type=int, default=5)
    given = parser.parse_args()
    if given.what == "quality":
        quality(given)
    else:
        cost(given.today, given.trials, given.epochs)


if __name__ == "__main__":
    main()
