"""A record belongs to one balancer, and a later one with other losses does not replace it."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from autoloss.core.errors import BusyError, ConfigError
from autoloss.core.io.files import read_json
from autoloss.core.io.lock import lock
from autoloss.training.record.unwritten import RecordWarning

RECORD_LOCK = "record.claim"  # not the lock of a run: a search holds that of a trial in which a balancer records
COMPARED = ("losses", "groups", "base")  # of a player, in the files of every version


@contextmanager
def claimed(directory: Path) -> Iterator[None]:
    """Within it no other balancer, in this process or another, writes into ``directory``; else :class:`BusyError`."""
    with ExitStack() as held:
        if not held.enter_context(lock(directory / RECORD_LOCK)):
            held.pop_all().close()
            gc.collect()  # a balancer that nobody can reach any more frees its directory
            if not held.enter_context(lock(directory / RECORD_LOCK)):
                raise BusyError(
                    f"A log_dir must belong to one balancer at a time, but another one writes to {str(directory)!r}. "
                    "Close that one first (`close()`, or `with`), or give each a directory of its own."
                )
        yield


def check_earlier(directory: Path, config: Mapping[str, Any]) -> None:
    """Raise if ``directory`` holds a record of something else than ``config``; warn if this run replaces one."""
    if not _has_rows(directory / "trajectory.csv") and not (directory / "summary.json").exists():
        return
    before, now = _described(directory), plain(config)
    different = [key for key in before if key in now and before[key] != now[key]]
    if different:
        found = ", ".join(f"{key} {before[key]!r} and not {now[key]!r}" for key in different)
        raise ConfigError(
            f"A log_dir must be new, or hold a record of the same losses and weighting, but {str(directory)!r} holds "
            f"one with {found}. Name another directory, or remove that one; to go on with its training, load the "
            "balancer's state_dict before the first step."
        )
    warnings.warn(
        f"The earlier record in {str(directory)!r} is replaced, since this run begins at step 0. To keep it, name "
        "another log_dir; to go on with it, load the balancer's state_dict before the first step.",
        RecordWarning,
        stacklevel=2,
    )


def plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """``config`` as it is read from a file."""
    found: dict[str, Any] = json.loads(json.dumps(config, default=str))
    return found


def _described(directory: Path) -> dict[str, Any]:
    """What the record in ``directory`` says of its run."""
    record = read_json(directory / "record.json") or {}
    config = record.get("config") or (read_json(directory / "summary.json") or {}).get("config") or {}
    players = record.get("players", {})
    if len(players) > 1:
        return {"losses": sorted(players)}
    return {key: of[key] for of in players.values() for key in COMPARED if key in of} | config


def _has_rows(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open(encoding="utf-8", errors="replace") as file:
        return len(file.readlines(1_000_000)) > 1
