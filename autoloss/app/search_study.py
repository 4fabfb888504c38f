"""The study of a search: what identifies it, its name, its seed, and its files."""

from __future__ import annotations

import json
import os
import shutil
import socket
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autoloss.app.current_config import current, without_loggers
from autoloss.app.trust import import_paths
from autoloss.app.workers import helper_number
from autoloss.core.errors import require
from autoloss.core.io.files import KEPT, MODEL
from autoloss.core.space import Choice
from autoloss.search.override_text import written

if TYPE_CHECKING:
    from autoloss.search.space import Candidate, Space

# These keys change how a study is searched; with other values it is still the same study.
SEARCH_SETTINGS = (
    "n_trials",
    "timeout",
    "patience",
    "workers",
    "fleet",
    "storage",
    "confirm",
    "confirm_seeds",
    "guard",
    "keep",
    "sampler",
    "pruner",
)


def check_study(config: Mapping[str, Any], directory: Path) -> None:
    """Raise now if the study, where there is one already, cannot be continued or started anew."""
    from autoloss.search.dashboard import study_name
    from autoloss.search.study import check_study as check
    from autoloss.search.study import open_storage

    storage = config["search"]["storage"]
    if config["fresh"]:
        require(storage is None, "fresh=true removes what lies in the directory", "the study is in search.storage")
    elif storage is not None or (directory / "study.log").exists():
        opened = open_storage(storage, directory)
        check(opened, study_name(opened, directory, storage is not None), study_config(config), current)


def check_candidates(candidates: Sequence[tuple[int, Candidate]], space: Space, place: str) -> None:
    """Raise if one of the ``candidates`` of the study in ``place`` is none that ``space`` offers.

    Another person may have written the study: what it says must import nothing, and set no other key.
    """
    from autoloss.search.output import overrides
    from autoloss.search.space import name_and_numbers

    varied = [of.options for of in space.keys.values() if isinstance(of, Choice)]
    losses = [f"losses.{term}={loss}" for term, options in space.losses.items() for loss in options]
    offered = import_paths([f"offered={written([[*space.weightings], space.wrap, *varied])}", *losses])
    for number, candidate in candidates:
        lines = overrides(candidate)
        strange = [f"{path!r}" for path in import_paths(lines) if path not in offered]
        strange += [key for key in candidate.keys if key not in space.keys and key not in space.defaults]
        strange += [f"losses.{term}" for term in candidate.losses if term not in space.losses]
        for term, loss in candidate.losses.items():
            name, numbers = name_and_numbers(loss)
            strange += [f"losses.{term}.{key}" for key in numbers if key not in space.numbers.get(name, {})]
        require(
            not strange,
            "A study must hold only what its search offers",
            f"trial {number} of {place!r} has {', '.join(strange)}",
            "Somebody else has written it: start again with fresh=true.",
        )


def sampler_seed(config: Mapping[str, Any], begun: int) -> int:
    """A seed: the same at each first start with one worker, another for each worker and for a resumed study."""
    if config["search"]["sampler"]["name"] == "qmc":
        # All workers draw from one sequence; the study stores the position.
        return int(config["seed"])
    elsewhere = config["search"]["storage"] is not None
    place = zlib.crc32(f"{socket.gethostname()} {os.getpid()}".encode()) % 1_000_000 if elsewhere else 0
    return int(config["seed"] + 1000 * begun + helper_number() + 1_000_000 * place) % 2**32


def study_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of ``config`` that identifies the study: all keys except those that say how to search."""
    search = {key: value for key, value in config["search"].items() if key not in SEARCH_SETTINGS}
    if not search.get("losses"):
        search.pop("loss_numbers", None)  # says nothing then; earlier studies have no such key
    left_out = ("search", "name", "fresh", "ckpt", "load", "workers", "threads", "test", "weighting")
    others = {k: without_loggers(k, v) for k, v in config.items() if k not in left_out}
    return json.loads(json.dumps({"search": search, **others, "wrap": config["weighting"].get("wrap")}))


def delete_results(directory: Path) -> None:
    """Remove what a search has left in ``directory``."""
    for name in ("trials", "confirm", KEPT, MODEL.parent):
        shutil.rmtree(directory / name, ignore_errors=True)
    for name in ("study.log", "search.json", "leaderboard.csv", "leaderboard.md", "best.yaml", "report.html"):
        (directory / name).unlink(missing_ok=True)
