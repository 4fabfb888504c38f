"""``autoloss distill RUN_DIR``: turns a run's weights into a schedule that another run can use."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloss.app.arguments import Parser
from autoloss.app.screen import say
from autoloss.core.errors import ConfigError
from autoloss.core.io.override_key import key_of
from autoloss.core.io.text_table import number
from autoloss.search.override_text import written

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
    learned = _scheduled(record.config.get("losses") or {}, numbers)
    kept = [one for one in command[2:] if not _is_weighting(one) and one.partition("=")[0] not in learned]
    given = [f"{key}={value if isinstance(value, str) else written(value)}" for key, value in learned.items()]
    return shlex.join(["autoloss", "train", *kept, *given, "weighting=scheduled", load])


def _scheduled(losses: Mapping[str, Any], numbers: Mapping[str, str]) -> dict[str, Any]:
    """The parameters of ``losses`` (the run's configuration) with learned ``numbers``, and what to set them to.

    A number may be one of a list (``digit.offsets[1]``), or belong to a part of a combined loss (``digit.1.gamma``):
    the parameter is then the whole list.
    """
    found = {}
    for term, node in losses.items():
        for key, value in node.items() if isinstance(node, Mapping) else ():
            place = term if key == "losses" else f"{term}.{key}"
            if (replaced := _replaced(value, place, numbers)) != value:
                found[f"losses.{term}.{key}"] = replaced
    return found


def _replaced(value: Any, place: str, numbers: Mapping[str, str]) -> Any:
    """``value``, a parameter or a list of losses, with the ``numbers`` whose names begin with its ``place``."""
    if isinstance(value, Mapping):
        return {key: _replaced(inner, _place(place, key, inner), numbers) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        inside = any(name.startswith(f"{place}[") for name in numbers)
        return [_replaced(one, f"{place}[{i}]" if inside else f"{place}.{i}", numbers) for i, one in enumerate(value)]
    return numbers.get(place, value)


def _place(place: str, key: str, inner: Any) -> str:
    # A loss may be written {focal: {gamma: 2}}, and the parts of a combined one have numbers for names.
    return place if key == "losses" or isinstance(inner, Mapping) else f"{place}.{key}"


def _is_weighting(argument: str) -> bool:
    # The multipliers of bounds are in the weights that were recorded.
    key = key_of(argument)
    return (
        argument.startswith("-")
        or key in ("weighting", "ckpt", "name", "hydra.run.dir")
        or key.startswith(("weighting.", "constraints"))
    )


def _quoted(path: str) -> str:
    """``path`` as Hydra reads it."""
    return path if re.fullmatch(r"[\w./-]+", path) else "'" + path.replace("'", "\\'") + "'"
