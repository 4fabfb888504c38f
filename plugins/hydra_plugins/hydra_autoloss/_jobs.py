"""Jobs of a sweep: their directories, and the results there."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from optuna.study import Study
from optuna.trial import Trial

from autoloss.core.errors import first_line
from autoloss.core.io.files import write_json
from autoloss.report.runs import Run, read_run

# A network file system shows a file of another machine some seconds after it was written.
PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Job:
    """A trial, the overrides that only it has, its directory's name, and what is wrong with its configuration."""

    trial: Trial
    swept: tuple[str, ...]
    name: str
    wrong: str | None = None

    @property
    def baseline(self) -> bool:
        """Whether it is the baseline: the run with equal weights that scores are relative to."""
        return bool(self.trial.user_attrs.get("baseline"))


def assign(study: Study, trial: Trial, configuration: Mapping[str, Any]) -> str:
    """Name the directory of ``trial``: that of an earlier trial with the same configuration, else the next number."""
    known = {
        str(t.user_attrs["digest"]): str(t.user_attrs["directory"])
        for t in study.get_trials(deepcopy=False)
        if "directory" in t.user_attrs
    }
    digest = hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()
    name = known.get(digest, f"{len(known):04d}")
    trial.set_user_attr("digest", digest)
    trial.set_user_attr("directory", name)
    return name


def result(directory: Path, returned: JobReturn | None) -> Run:
    """The run that the job left in ``directory``; a job that left no result is marked as failed there.

    The files are read, because the returned value is ``None`` for several metrics.
    """
    run = read_run(directory)
    if run.finished or run.error or returned is None:
        return run
    waited = time.monotonic() + (PATIENCE if returned.status == JobStatus.COMPLETED else 0.0)
    while time.monotonic() < waited:
        time.sleep(0.5)
        run = read_run(directory)
        if run.finished or run.error:
            return run
    value = returned._return_value
    said = first_line(value) if isinstance(value, Exception) else "it ended without a result"
    write_json(directory / "failed.json", {"error": said})
    return read_run(directory)


def not_finite(run: Run, names: Mapping[str, str]) -> str | None:
    """What is wrong with the metrics ``names`` of a finished run: missing or not finite; ``None`` if nothing is."""
    metrics = (run.summary or {}).get("metrics", {})
    missing = [name for name in names if name not in metrics]
    if missing:
        return f"{', '.join(missing)} is missing from its metrics"
    bad = ", ".join(f"{name} is {metrics[name]}" for name in names if not math.isfinite(metrics[name]))
    return bad or None
