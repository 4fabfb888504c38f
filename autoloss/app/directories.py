"""Directories of runs: where a new one goes, and which one holds a checkpoint or a finished run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from autoloss.app.composition import parsed
from autoloss.app.current_config import training_config
from autoloss.app.nested import node_at
from autoloss.core.errors import ConfigError, OccupiedError, first_line
from autoloss.core.io.files import read_json
from autoloss.core.io.occupied import RUN, check_free, readable

OUTPUTS = Path("outputs")
CHECKPOINT = Path("checkpoints/last.ckpt")
TRAJECTORY = "trajectory.csv"
_MODEL = ("problem", "module", "weighting")  # with another one a run cannot go on
_SAME_TRAINING = ("test", "load")  # with another value of these keys the same run is trained


def numbered(parent: Path) -> Path:
    """A new directory ``001``, ``002``, ... under ``parent``; it is created here, so no other process gets it."""
    parent.mkdir(parents=True, exist_ok=True)
    number = max((int(p.name) for p in parent.iterdir() if p.name.isdigit()), default=0)
    while True:
        number += 1
        try:
            (parent / f"{number:03d}").mkdir()
        except FileExistsError:
            continue
        return parent / f"{number:03d}"


def missing(directory: Path) -> list[Path]:
    """Of ``directory`` and those above it the ones that do not exist yet, the innermost first."""
    return [path for path in (directory, *directory.parents) if not path.exists()]


def has_rows(file: Path) -> bool:
    """Whether ``file`` exists and has a row below its header."""
    with suppress(OSError), file.open(encoding="utf-8", errors="replace") as lines:
        return len(list(islice(lines, 2))) == 2
    return False


def remove_new(made: Sequence[Path]) -> None:
    """Remove what a refused command has made: the first of ``made``, and the others where they are empty then."""
    shutil.rmtree(made[0])
    with suppress(OSError):
        for path in made[1:]:
            path.rmdir()


def newest(parent: Path) -> Path:
    """The newest numbered directory under ``parent`` that has a checkpoint."""
    numbers = (p for p in (parent.iterdir() if parent.is_dir() else ()) if p.name.isdigit())
    runs = sorted((p for p in numbers if (p / CHECKPOINT).exists()), key=lambda p: int(p.name))
    if not runs:
        raise ConfigError(
            f"ckpt=last needs an earlier run in {parent}, but there is none. Leave ckpt out to start one."
        )
    return runs[-1]


def checkpoint_of(place: str) -> Path:
    """The checkpoint that ``place`` means: a file, or the last one of a run's directory or of its newest run."""
    path = Path(place)
    if not path.is_dir():
        return path
    has_none = not (path / CHECKPOINT).exists() and any((one / CHECKPOINT).exists() for one in path.glob("[0-9]*"))
    return (newest(path) if has_none else path) / CHECKPOINT


def typed_directory(overrides: Sequence[str], key: str, config: Mapping[str, Any]) -> Path | None:
    """The directory that ``overrides`` give in ``key``, such as ``hydra.run.dir``; ``None`` if they give none."""
    given = [o for o in overrides if o.lstrip("+").partition("=")[0] == key]
    if not given:
        return None
    (value,) = (str(one.value()) for one in parsed(given[-1:]))
    try:
        return Path(str(OmegaConf.create({**config, key: value})[key]))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key} must be a directory, but it is {value!r}: {first_line(error)}.") from error


def finished(directory: Path, config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run of the same configuration in ``directory``, if it holds one."""
    from autoloss.report.runs import FINISHED  # it imports numpy: a question is answered without it

    summary = read_json(directory / "summary.json")
    ended = summary is not None and summary.get("state", FINISHED) == FINISHED
    same = ended and training_config(summary["config"]) == as_read(training_config(config))
    return summary if same else None


def check_run(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise :class:`OccupiedError` if a run with ``config`` would write over something else in ``directory``.

    That is anything but a run, or a run of another configuration, finished or not. ``fresh=true`` replaces a run; a
    checkpoint in ``directory`` (``ckpt=last``) goes on with one, if its problem, module and weighting are the same.
    """
    check_free(directory, RUN)
    if config["fresh"] or (not (directory / TRAJECTORY).exists() and not (directory / "summary.json").exists()):
        return
    before, now = _earlier(directory), as_read(training_config(config))
    if _resumes(config["ckpt"], directory):
        before, now = ({key: _name(of.get(key)) for key in _MODEL} for of in (before or now, now))
    different = [
        f"{key}={node_at(before, key.split('.'))} (now {node_at(now, key.split('.'))})"
        for key in _differences(before, now)
    ]
    different.sort(key=lambda one: ".name=" not in one)  # another component first, then its parameters
    if different or not before:
        more = f" and {len(different) - 3} more" if len(different) > 3 else ""
        found = ", ".join(different[:3]) + more if before else "a configuration that is not known"
        raise OccupiedError(
            f"A run must not be written over by another one, but {str(directory)!r} holds one with {found}. "
            "Choose another directory, by name= or hydra.run.dir= (a sweep: hydra.sweep.dir=), or write fresh=true to "
            "replace it."
        )


def _resumes(checkpoint: str | None, directory: Path) -> bool:
    if checkpoint in (None, "last"):
        return checkpoint == "last"
    return Path(str(checkpoint)).resolve().is_relative_to(directory.resolve())


def _earlier(directory: Path) -> dict[str, Any]:
    """The training configuration of the run in ``directory``; empty if no file tells it."""
    summary = readable(directory / "summary.json")
    found = summary.get("config") if isinstance(summary, dict) else None
    found = found or readable(directory / "config.json")
    return training_config(found) if isinstance(found, dict) and found else {}


def _name(node: Any) -> Any:
    return node.get("name") if isinstance(node, Mapping) else node


def _differences(before: Mapping[str, Any], now: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key in dict.fromkeys([*before, *now]):
        one, other = before.get(key), now.get(key)
        if one == other or above + key in _SAME_TRAINING:
            continue
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            yield from _differences(one, other, f"{above}{key}.")
        else:
            yield above + key


def as_read(config: Mapping[str, Any]) -> Any:
    """``config`` as it is read back from a file: there every key is text."""
    return json.loads(json.dumps(config))
