"""A run directory that the first recorded step creates."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from copy import copy, deepcopy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import BusyError, ConfigError
from autoloss.core.tensors.ranks import rank
from autoloss.training.step.notes import Notes
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed

if TYPE_CHECKING:
    from autoloss.training.record.run_directory import RunDirectory


Closed = TypeVar("Closed", bound="ClosedAtEnd")


class LazyRunDirectory:
    """The :class:`RunDirectory` of a balancer, which its first step creates; no ``directory`` means no files.

    Of several processes only that of rank 0 writes, whoever is given a ``directory``. Nothing here, nor in what it
    calls, waits for another process.

    A loop that writes no files imports neither TensorBoard nor the code that makes pages. A deep copy of a balancer
    writes no files: two of them would write the same ones.
    """

    def __init__(
        self, directory: str | Path | None, every: int, player: Player, weighting: Any, **config: int | None
    ) -> None:
        self.directory = None if directory is None else Path(directory)
        self.every, self.player = every, player
        self._config = {"weighting": weighting, **config}
        self._run_directory: RunDirectory | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyRunDirectory:
        found = copy(self)
        found.directory, found._run_directory = None, None
        found.player = deepcopy(self.player, memo)
        return found

    def record(self, weighed: Weighed, notes: Notes) -> None:
        """Record a micro-batch with its notes."""
        self._open(weighed.clock)
        if self._run_directory is not None:
            self._run_directory.record(weighed, notes)

    def measured(self, clock: Clock, metrics: Mapping[str, float | Tensor], goals: Mapping[str, str]) -> None:
        """Record metrics on validation data."""
        self._open(clock)
        if self._run_directory is not None:
            self._run_directory.measured(clock, metrics, goals)

    def _open(self, clock: Clock) -> None:
        if self._run_directory is not None or self.directory is None or rank() != 0:
            return
        from autoloss.training.record.run_directory import RunDirectory
        from autoloss.training.record.unwritten import FULL, RecordWarning

        config = {**self.player.terms.about(), **self._config}
        try:
            self._run_directory = RunDirectory(self.directory, self.player, self.every, config, clock.step)
        except BusyError:
            raise
        except OSError as error:
            place, self.directory = self.directory, None
            rule = f"A log_dir must be a directory in which files can be written, but {str(place)!r} is not: {error}."
            if error.errno not in FULL:
                raise ConfigError(f"{rule} Name another one, or leave log_dir out.") from error
            warnings.warn(f"{rule} The training goes on without a record.", RecordWarning, stacklevel=2)

    def flush(self) -> None:
        """Write the rows that are recorded so far."""
        if self._run_directory is not None:
            self._run_directory.recorder.flush()

    def close(self, clock: Clock) -> None:
        """Write the last rows, the summary and the page."""
        if self._run_directory is not None:
            self._run_directory.close(clock)
            self._run_directory = None


class ClosedAtEnd:
    """Closes at the end of a ``with`` block; after an exception it only writes the rows that are recorded so far."""

    _run_directory: LazyRunDirectory

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self: Closed) -> Closed:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._run_directory.flush()
