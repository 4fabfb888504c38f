"""``autoloss distill RUN_DIR``: turns a run's weights into a schedule that another run can use."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from autoloss.app.arguments import Parser
from autoloss.app.screen import say
from autoloss.core.errors import ConfigError
from autoloss.core.io.text_table import number

if TYPE_CHECKING:
    from autoloss.report.record import RunRecord


def main(arguments: Sequence[str]) -> int:
    """Write ``schedule.yaml`` and say how to use it."""
    parser = Parser("distill")
    parser.add_argument("run", metavar="RUN_DIR", type=Path, help="a directory with trajectory.csv")
    parser.add_argument("--out", type=Path, help="the file to write; RUN_DIR/schedule.yaml by default")
    parser.add_argument("--points", type=int, default=50, help="intervals of each curve; it has one point more")
    parser.add_argument(
        "--smooth", type=float, default=0.05, help="width of the moving average, as a share of training"
    )
    parser.add_argument("--player", default="", help="the player whose weights are meant, in a GAN")
    options = parser.parse_args(arguments)

    from autoloss.meta.distill import distill, distill_numbers
    from autoloss.report.write import run_record

    curves = distill(options.run, options.points, options.smooth, options.player)
    path = options.out or options.run / "schedule.yaml"
    try:
        curves.write(path, f"Weights over progress, distilled by autoloss from {options.run}.")
    except OSError as error:
        raise ConfigError(
            f"A schedule is written to a file, but {str(path)!r} cannot be: {error.strerror or error}. Name another "
            "with --out FILE."
        ) from error
    for name, values in curves.weights.items():
        first, middle, last = (number(values[i], ".4g") for i in (0, len(values) // 2, -1))
        say(f"{name}: {first} at the start, {middle} half-way, {last} at the end")
    numbers = distill_numbers(options.run, smooth=options.smooth)
    for name, text in numbers.items():
        say(f"{name}: {text}")
    say(f"\nwritten: {path}\nuse it: {_use(run_record(options.run), path, numbers)}")
    return 0


def _use(record: RunRecord, path: Path, numbers: Mapping[str, str]) -> str:
    """How to train with the schedules: the run's own command, with its weighting and learned numbers replaced.

    For a loop of one's own it is a balancer.
    """
    summary, load = record.summary, f"weighting.load={_quoted(str(path))}"
    command = summary.get("command") or ["autoloss", "train", *summary.get("overrides", ())]
    if not summary.get("overrides") and "command" not in summary and "problem" not in record.config:
        return f'Balancer(..., weighting={{"name": "scheduled", "load": {str(path)!r}}})'
    if command[:2] != ["autoloss", "train"] or len(command) == 2:
        name = (record.config.get("problem") or {}).get("name")
        command = ["autoloss", "train", *([f"problem={name}"] if name else [])]
    learned = {f"losses.{name}": text for name, text in numbers.items()}
    kept = [one for one in command[2:] if not _is_weighting(one) and one.partition("=")[0] not in learned]
    given = [f"{key}={text}" for key, text in learned.items() if any(one.startswith(f"{key}=") for one in command)]
    return shlex.join(["autoloss", "train", *kept, *given, "weighting=scheduled", load])


def _is_weighting(argument: str) -> bool:
    # The multipliers of bounds are in the weights that were recorded.
    key = argument.lstrip("+~").partition("=")[0]
    return (
        argument.startswith("-")
        or key in ("weighting", "ckpt", "name", "hydra.run.dir")
        or key.startswith(("weighting.", "constraints"))
    )


def _quoted(path: str) -> str:
    """``path`` as Hydra reads it."""
    return path if re.fullmatch(r"[\w./-]+", path) else "'" + path.replace("'", "\\'") + "'"
