"""What recording costs a step, and what a very long run leaves: `python benchmarks/recording.py`.

The time within the recorder is summed over 650 steps, more than a block of its rows, so that writing is included, and
divided by the time of the rest of those steps: CPU time of this process, the smallest of several repeats. The
long run is the real recorder fed with 100,000 steps of 20 losses and their Gram matrices.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from steps import Setting

from autoloss import Balancer
from autoloss.core.clock import Clock
from autoloss.core.registry.lookup import registry
from autoloss.core.table import LossTable
from autoloss.probe.gradients import Measured
from autoloss.report import write
from autoloss.training.record.recorder import Recorder
from autoloss.training.step.player import Player

COST_BAR, EVENTS_BAR = 0.02, 50.0


def share(size: int, weighting: str, steps: int, batch: int) -> float:
    """The recorder's part of a step: its time over the time of everything else."""
    setting = Setting(size, "cpu")
    setting.images, setting.classes = setting.images[:batch], [c[:batch] for c in setting.classes]
    place = Path(tempfile.mkdtemp())
    balancer = Balancer(setting.names, weighting, log_dir=place)
    spent, record = 0.0, balancer._record

    def timed(weighed: object) -> None:
        nonlocal spent
        begun = time.process_time()
        record(weighed)  # type: ignore[arg-type]
        spent += time.process_time() - begun

    balancer._record = timed  # type: ignore[method-assign, assignment]
    whole = 0.0
    for step in range(steps + 1):
        begun = time.process_time()
        features, losses = setting.losses()
        setting.finish(balancer(losses, anchor=features))
        if step == 0:
            spent = 0.0  # the first opens files and imports TensorBoard
            continue
        whole += time.process_time() - begun
    shutil.rmtree(place)
    return spent / (whole - spent)


def long_run(directory: Path, steps: int, size: int, every: int) -> float:
    """Feed the recorder; the seconds that it took."""
    torch.manual_seed(0)
    names = [f"loss_{i}" for i in range(size)]
    player = Player(names, registry.build("weighting", "equal"))
    first = player.step(LossTable({name: torch.rand((), requires_grad=True) for name in names}), Clock())
    assert first is not None
    rows = torch.randn(64, size, 2 * size)
    grams = [Measured(torch.ones(size, dtype=torch.bool), {"gram": row @ row.T}) for row in rows]
    recorder = Recorder(directory, {"": player.terms}, every, measures={"": True})
    begun = time.process_time()
    for step in range(steps):
        losses = replace(first.losses, values=rows[step % 64, :, 0].abs())
        signals = replace(first.signals, step=step, progress=step / steps)
        recorder.record(replace(first, losses=losses, signals=signals, measured=grams[step % 64]))
    recorder.close()
    return time.process_time() - begun


def main() -> None:
    """Print what recording costs, and what long runs leave."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 8, 20])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--weightings", nargs="*", default=["equal", "gradnorm"])
    parser.add_argument("--every", type=int, nargs="*", default=[10, 1], help="record.every of the long runs")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.weightings:
        cost(options)
    for every in options.every:
        long_runs(every)


def cost(options: argparse.Namespace) -> None:
    """Print what recording costs a step."""
    print(f"LeNet 36x36, batch {options.batch}, cpu, 1 thread, torch {torch.__version__}; record_every=10\n")
    print("| weighting | " + " | ".join(f"K = {size}" for size in options.sizes) + " |")
    print("|---|" + "---|" * len(options.sizes))
    over = False
    for weighting in options.weightings:
        found = [min(share(k, weighting, 650, options.batch) for _ in range(options.repeats)) for k in options.sizes]
        over |= max(found) > COST_BAR
        print(f"| {weighting} | " + " | ".join(f"{x:.2%}" for x in found) + " |", flush=True)
    print(f"\nThe bar is {COST_BAR:.0%} of a step: {'exceeded' if over else 'held'}.\n")


def long_runs(every: int) -> None:
    """Print what 100,000 steps leave."""
    directory = Path(tempfile.mkdtemp())
    seconds = long_run(directory, 100_000, 20, every)
    events = sum(path.stat().st_size for path in directory.glob("events.out.tfevents.*")) / 2**20
    table = (directory / "trajectory.csv").stat().st_size / 2**20
    begun = time.process_time()
    page = write(directory).stat().st_size / 2**20
    made = time.process_time() - begun
    verdict = "held" if events <= EVENTS_BAR else "exceeded"
    print(
        f"100,000 steps, 20 losses, record.every={every}: events {events:.1f} MiB (the bar is {EVENTS_BAR:.0f}: "
        f"{verdict}), trajectory.csv {table:.1f} MiB, report.html {page:.1f} MiB made in {made:.1f} s; "
        f"{seconds:.0f} s in the recorder."
    )
    shutil.rmtree(directory)


if __name__ == "__main__":
    main()
