"""What a training step costs, as a ratio to the same step with a plain sum: `make bench`.

All methods take turns in every round, so that a machine whose speed changes slows all of them
equally; a ratio is taken within a round, and the table shows its median over rounds. On a CPU
the time is this process's own, on one thread by default, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import random
import time
from functools import partial
from statistics import median

import torch
from steps import Step, ahead, forked, ours, plain, torchjd

VALUES = ("equal", "uncertainty", "dwa", "imtl_l", "relobralo", "cov", "rlw", "smooth_tchebycheff")
GRAM = (
    *("gradnorm", "mgda", "cagrad", "pcgrad", "gradvac", "imtl_g", "nash_mtl", "fairgrad"),
    *("aligned_mtl", "upgrad", "dualproj", "config", "balancer"),
)
EVERY_TENTH = {"name": "auto", "wrap": {"every_n": {"n": 10}}}
FORK = ("gradnorm", "mgda", "pcgrad", "graddrop")
BARS = {  # the ratio that a row must not exceed, by K
    "values": dict.fromkeys((2, 8, 16, 32, 64), 1.03),
    "gram": {2: 1.10, 8: 1.10, 16: 1.15, 32: 1.15, 64: 1.25},
    "auto": {2: 1.06, 8: 1.06, 32: 1.12},
    "auto, fork": {32: 1.06},
    "every tenth": dict.fromkeys((2, 8, 32), 1.02),
    "fork": dict.fromkeys((2, 8, 16, 32, 64), 1.10),
    "ahead": dict.fromkeys((2, 8, 16, 32, 64), 1.45),
}


def rows(chosen: list[str] | None) -> dict[str, tuple[str, partial[Step]]]:
    """Each row's name, the bar that it is held to, and what makes its step."""
    table: dict[str, tuple[str, partial[Step]]] = {"sum": ("", partial(plain))}
    table |= {name: ("values", partial(ours, weighting=name)) for name in VALUES}
    table["equal, all but one bounded"] = ("values", partial(ours, weighting="equal", bounded=True))
    table |= {name: ("gram", partial(ours, weighting=name)) for name in GRAM}
    table["auto"] = ("auto", partial(ours, weighting="auto"))
    table["auto, every_n(10)"] = ("every tenth", partial(ours, weighting=EVERY_TENTH))
    table["auto, fork"] = ("auto, fork", partial(forked, weighting="auto"))
    table |= {f"{name}, fork": ("fork", partial(forked, weighting=name)) for name in FORK}
    table["famo"] = ("ahead", partial(ahead, weighting="famo"))
    table["mgda, all shared parameters"] = ("exact", partial(forked, weighting="mgda", at="parameters"))
    table["mgda, all shared parameters, heads weighted"] = ("", partial(ours, weighting="mgda", anchor="parameters"))
    table["TorchJD mgda, default"] = ("", partial(torchjd, chunk=None))
    table["TorchJD mgda, parallel_chunk_size=1"] = ("", partial(torchjd, chunk=1))
    return {name: row for name, row in table.items() if not chosen or name == "sum" or name in chosen}


def seconds(step: Step, device: str) -> float:
    """The time of one step."""
    if device == "cpu":
        begun = time.process_time()
        step()
        return time.process_time() - begun
    torch.cuda.synchronize()
    begun = time.perf_counter()
    step()
    torch.cuda.synchronize()
    return time.perf_counter() - begun


def ratios(steps: dict[str, Step], rounds: int, device: str) -> dict[str, float]:
    """The median over rounds of each step's time over that of ``sum`` in the same round."""
    order = random.Random(0)
    times = []
    for _ in range(rounds):
        row = {}
        # In another order each round, and the second step of a turn is timed: what the method before
        # left in caches and allocators is not the cost of this one.
        for name in order.sample(list(steps), len(steps)):
            seconds(steps[name], device)
            row[name] = seconds(steps[name], device)
        times.append(row)
    return {name: median(row[name] / row["sum"] for row in times) for name in steps}


def verdict(table: dict[str, tuple[str, partial[Step]]], columns: dict[int, dict[str, float]]) -> list[str]:
    """The rows that exceed their bar."""
    over = []
    for name, (bar, _) in table.items():
        for size, column in columns.items():
            limit = BARS.get(bar, {}).get(size)
            if bar == "exact":
                rivals = [value for other, value in column.items() if other.startswith("TorchJD")]
                limit = 1.15 * min(rivals) if rivals else None
            if limit is not None and column[name] > limit:
                over.append(f"{name} at K = {size}: {column[name]:.3f}, the bar is {limit:.2f}")
    return over


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 8, 16, 32, 64])
    parser.add_argument("--methods", nargs="+", default=None, help="rows; all by default")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = rows(options.methods)
    print(f"LeNet 36x36, batch 256, {options.device}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    print(f"ratio to a plain summed step, median over {options.rounds} rounds\n", flush=True)
    columns = {}
    for size in options.sizes:
        steps = {name: make(size, options.device) for name, (_, make) in table.items()}
        columns[size] = ratios(steps, options.rounds, options.device)
    print("| method | " + " | ".join(f"K = {size}" for size in options.sizes) + " |")
    print("|---|" + "---|" * len(options.sizes))
    for name in table:
        print(f"| {name} | " + " | ".join(f"{columns[size][name]:.3f}" for size in options.sizes) + " |")
    over = verdict(table, columns)
    print("\n" + ("Every row is within its bar." if not over else "Over the bar:\n" + "\n".join(over)))


if __name__ == "__main__":
    main()
