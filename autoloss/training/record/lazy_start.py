"""A journal that is opened by the first step that there is to write down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed

if TYPE_CHECKING:
    from autoloss.training.record.run_directory import Journal


class LateJournal:
    """What a balancer writes to ``directory``, every so many steps; nothing without one.

    Who writes nothing imports neither TensorBoard nor what makes pages.
    """

    def __init__(
        self, directory: str | Path | None, every: int, player: Player, weighting: Any, **config: int | None
    ) -> None:
        self.directory = None if directory is None else Path(directory)
        self.every, self.player = every, player
        self._config = {"weighting": weighting, **config}
        self._journal: Journal | None = None

    def record(self, weighed: Weighed) -> None:
        """Take down a micro-batch."""
        if self.directory is None:
            return
        if self._journal is None:
            from autoloss.training.record.run_directory import Journal

            config = {**self.player.terms.about(), **self._config}
            self._journal = Journal(self.directory, self.player, self.every, config, weighed.clock.step)
        self._journal.record(weighed)

    def measured(self, clock: Clock, metrics: Mapping[str, float | Tensor], goals: Mapping[str, str]) -> None:
        """Take down metrics on validation data."""
        if self._journal is not None:
            self._journal.measured(clock, metrics, goals)

    def close(self, clock: Clock) -> None:
        """Write what is left, the summary and the page."""
        if self._journal is not None:
            self._journal.close(clock)
            self._journal = None
