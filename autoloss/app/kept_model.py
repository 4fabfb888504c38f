"""Trains the choice of a search once more, and keeps its model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from autoloss.app.composition import composed
from autoloss.app.directories import finished
from autoloss.app.overrides import rewritten
from autoloss.app.train_one import train
from autoloss.core.io.files import KEPT, MODEL
from autoloss.search.output import overrides
from autoloss.search.space import Candidate


def keep(choice: Candidate, settings: Sequence[str], config_dirs: Sequence[str], seed: int, directory: Path) -> float:
    """Train ``choice`` in ``directory``/kept, write the model to ``directory``/checkpoints; return the seconds.

    The run has the search's own ``seed`` and all training data. If the model of the same run is there, nothing is done,
    and the result is 0.
    """
    own = [*settings, *rewritten(overrides(choice)), f"seed={seed}", "test=false", "checkpoint.every=0"]
    config, place, begun = composed("train", own, list(config_dirs), {}), directory / KEPT, time.perf_counter()
    if finished(place, config) is not None and (directory / MODEL).is_file():
        return 0.0
    (directory / MODEL).unlink(missing_ok=True)
    command = ["autoloss", "train", *own]
    train(config, place, own, title="the choice", command=command, model=directory / MODEL)
    return time.perf_counter() - begun
