"""Trainings whose losses ended far larger than they began."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import median
from typing import Any

from autoloss.app.directories import TRAJECTORY
from autoloss.core.io.occupied import readable

TIMES = 10  # a sum of losses that ends so many times as large as it began


def growth(trajectory: Path) -> float:
    """How many times as large the sum of the losses is at the end as in the first recorded step; NaN if nobody knows.

    The end is the median of the last tenth of the steps. The losses of a GAN's players say nothing about that.
    """
    with trajectory.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sums = [
        sum(float(v) for tag, v in row.items() if v and tag.startswith("loss_raw/") and tag.count("/") == 1)
        for row in rows
    ]
    if not sums or sums[0] <= 0:
        return float("nan")
    return median(sums[-max(1, len(sums) // 10) :]) / sums[0]


def diverged_sentence(directory: Path) -> str:
    """What to say of the finished runs in ``directory`` that have diverged, with their learning rates; or nothing.

    Nothing is known of runs with a sample weighting.
    """
    found: dict[Path, tuple[float, Any]] = {}
    known = 0
    for path in sorted(directory.rglob("summary.json")):
        summary, trajectory = readable(path), path.with_name(TRAJECTORY)
        if not isinstance(summary, dict) or summary.get("state") != "finished" or not trajectory.is_file():
            continue
        known += 1
        config = summary.get("config", {})
        if (config.get("sample_weighting") or {}).get("name", "uniform") != "uniform":
            continue  # its losses have the weights of their samples, which may grow from 0
        if (times := growth(trajectory)) > TIMES:
            found[path.parent] = times, config.get("optimizer", {}).get("lr")
    if not found:
        return ""
    worst = max(found, key=lambda place: found[place][0])
    times, _ = found[worst]
    if known == 1:
        said = f"the losses ended {times:.2g} times as large as they began: the training has diverged"
    else:
        most = f"up to {times:.2g} times, in {worst.relative_to(directory).as_posix()}"
        said = f"the losses of {len(found)} of {known} trainings ended more than {TIMES} times as large as they began"
        said += f" ({most}): these have diverged"
    rates = sorted({float(lr) for _, lr in found.values() if isinstance(lr, (int, float))})
    span = f", which is {rates[0]:g}" + (f" to {rates[-1]:g}" if len(rates) > 1 else "") if rates else ""
    return f"{said}. Lower optimizer.lr{span}."
