"""A run directory that the first recorded step creates."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.training.step.notes import Notes
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed

if TYPE_CHECKING:
    from autoloss.training.record.run_directory import RunDirectory


class LazyRunDirectory:
    """The :class:`RunDirectory` of a balancer, which its first step creates; no ``directory`` means no files.

    A loop that writes no files imports neither TensorBoard nor the code that makes pages.
    """

    def __init__(
        self, directory: str | Path | None, every: int, player: Player, weighting: Any, **config: int | None
    ) -> None:
        self.directory = None if directory is None else Path(directory)
        self.every, self.player = every, player
        self._config = {"weighting": weighting, **config}
        self._run_directory: RunDirectory | None = None

    def record(self, weighed: Weighed, notes: Notes) -> None:
        """Record a micro-batch with its notes."""
        if self._run_directory is None and self.directory is not None:
            from autoloss.training.record.run_directory import RunDirectory

            config = {**self.player.terms.about(), **self._config}
            self._run_directory = RunDirectory(self.directory, self.player, self.every, config, weighed.clock.step)
        if self._run_directory is not None:
            self._run_directory.record(weighed, notes)

    def measured(self, clock: Clock, metrics: Mapping[str, float | Tensor], goals: Mapping[str, str]) -> None:
        """Record metrics on validation data."""
        if self._run_directory is not None:
            self._run_directory.measured(clock, metrics, goals)

    def close(self, clock: Clock) -> None:
        """Write the last rows, the summary and the page."""
        if self._run_directory is not None:
            self._run_directory.close(clock)
            self._run_directory = None
