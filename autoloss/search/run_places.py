"""Where a search keeps its runs: their directories are their names in TensorBoard, so they name the weighting."""

from __future__ import annotations

from pathlib import Path

from autoloss.core.io.names import made_name
from autoloss.search.space import Candidate

PLACE = "place"  # the attribute of a trial that says where in the search's directory its run is


def trial_place(number: int, candidate: Candidate) -> str:
    """The place of a trial's run in the directory of its search.

    >>> trial_place(4, Candidate({"name": "gradnorm", "alpha": 1.5}, {}, {}))
    'trials/0004-gradnorm'
    """
    return f"trials/{_named(number, candidate)}"


def confirmation(directory: Path, number: int, candidate: Candidate, seed: int) -> Path:
    """Where the confirmation of trial ``number`` is; a search that an earlier version began goes on where it was."""
    earlier = directory / "confirm" / f"{number:04d}"
    return (earlier if earlier.exists() else earlier.with_name(_named(number, candidate))) / f"seed_{seed}"


def _named(number: int, candidate: Candidate) -> str:
    return made_name([f"{number:04d}", str(candidate.weighting["name"])])
