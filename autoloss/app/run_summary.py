"""The summary of a run: what was trained, with what result."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from autoloss.app.directories import TRAJECTORY
from autoloss.app.screen import report
from autoloss.app.unmoved import unmoved
from autoloss.core.errors import MetricError
from autoloss.core.io.files import write_json
from autoloss.core.io.versions import versions
from autoloss.training.lightning.run_module import RunModule
from autoloss.training.record.export import write_export
from autoloss.training.step.player import Player

CONVENTIONS = {
    "weight": "effective: d(total)/d(loss), base weights included",
    "values": "mean over the present items of all ranks",
    "metrics": "mean over the split, at the last step",
}
FORKED = {
    "weight": "of a loss's gradient at the shared features, base weight included; 1 where no weights can say it",
    "heads": "not weighted: base weights alone, since the gradients met in a fork",
}


def write_summary(
    directory: Path,
    module: RunModule,
    config: Mapping[str, Any],
    *,
    given: Mapping[str, Any],
    state: str,
    metrics: Mapping[str, float],
    test_metrics: Mapping[str, float],
    steps: int,
    seconds: float,
    overrides: Sequence[str],
    command: Sequence[str],
    constant: Mapping[str, float] = {},
) -> dict[str, Any]:
    """Write ``summary.json``, what the weighting exports and the page of a run of ``config``; return the summary.

    ``given`` is the configuration as it was given, perhaps without keys that have defaults. ``constant`` are the
    metrics of the best answer that is the same for every sample, where they are known.
    """
    further = {name: player for name, player in module.players.items() if player is not module.player}
    goals = module.problem.metrics
    summary = {
        "state": state,
        "problem": config["problem"]["name"],
        "weighting": config["weighting"]["name"],
        "sample_weighting": config["sample_weighting"]["name"],
        "seed": config["seed"],
        "metrics": dict(metrics),
        "goals": {name: goals[name] for name in metrics if name in goals},
        "final_weights": _weights(module.player),
        # For a GAN, final_weights are the generator's; discriminator_weights are written beside them.
        **{f"{name}_weights": _weights(player) for name, player in further.items()},
        **({} if module.player.numbers is None else {"loss_numbers": module.player.numbers.shown()}),
        **({} if module.player.constraints is None else {"constraints": module.player.constraints.shown()}),
        "mean_weight_sum": _mean_weight_sum(directory / TRAJECTORY, set(further)),
        "skipped_batches": sum(player.nonfinite.skipped for player in module.players.values()),
        "steps": steps,
        "seconds": round(seconds, 2),
        "conventions": CONVENTIONS | (FORKED if module.forked else {}),
        "versions": versions("torch", "pytorch-lightning", "hydra-core"),
        "overrides": list(overrides),
        "command": list(command) or ["autoloss", "train", *overrides],
        "config": dict(given),
    }
    if test_metrics:
        summary["test_metrics"] = dict(test_metrics)
    if constant:
        summary["constant_metrics"] = dict(constant)
        summary["unmoved_metrics"] = unmoved(constant, goals, directory / "metrics.csv")
    write_export(module.player.weighting, directory)
    write_json(directory / "summary.json", summary)
    report(directory)
    return summary


def check_finite(metrics: Mapping[str, float], split: str) -> None:
    """Raise :class:`MetricError` unless all ``metrics`` of a ``split`` are finite."""
    bad = ", ".join(f"{name} is {value}" for name, value in metrics.items() if not isfinite(value))
    if bad:
        raise MetricError(
            f"Every metric must be finite at the end of a training, but on {split} data {bad}. "
            "Look at the curves of the losses in the run's report, or lower optimizer.lr."
        )


def _weights(player: Player) -> dict[str, float]:
    return dict(zip(player.terms.names, player.last.tolist(), strict=True))


def _mean_weight_sum(trajectory: Path, others: set[str]) -> float:
    """The mean sum of the weights, without those of the players ``others``."""
    with trajectory.open(newline="") as file:
        rows = list(csv.DictReader(file))
    sums = [sum(float(v) for tag, v in row.items() if v and _is_weight(tag, others)) for row in rows]
    return sum(sums) / len(sums) if sums else float("nan")


def _is_weight(tag: str, others: set[str]) -> bool:
    kind, *names = tag.split("/")
    return kind == "loss_weight" and names[0] not in others
