"""Reads the summaries of run directories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoloss.core.io.files import read_mapping

# The states in a summary; a summary without a state is that of a finished run.
FINISHED, INTERRUPTED = "finished", "interrupted"


@dataclass(frozen=True, slots=True)
class Run:
    """The directory of a run, its summary if it finished or was interrupted, and its first error if it failed."""

    directory: Path
    summary: dict[str, Any] | None = None
    error: str | None = None

    @property
    def finished(self) -> bool:
        """Whether the run ended with a result."""
        return self.summary is not None and self.summary.get("state", FINISHED) == FINISHED


def read_run(directory: Path) -> Run:
    """The run in ``directory``, from its files."""
    summary = read_mapping(directory / "summary.json")
    failed = read_mapping(directory / "failed.json")
    return Run(directory, summary, None if summary is not None or failed is None else failed["error"])


def read_runs(directory: Path) -> list[Run]:
    """Every run directly under ``directory``, in the order of their names."""
    here = sorted(p for p in directory.iterdir() if p.is_dir() and not p.name.startswith("."))
    runs = [read_run(p) for p in here]
    return [run for run in runs if run.finished or run.error or (run.directory / "trajectory.csv").exists()]
