"""Writes the record of a training: ``trajectory.csv`` and TensorBoard events."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from autoloss.core.clock import Clock
from autoloss.core.io.files import write_json
from autoloss.core.terms import Terms
from autoloss.training.record.buffer import LossBook, Page
from autoloss.training.record.cadence import DENSE, Cadence
from autoloss.training.record.csv_file import Columns
from autoloss.training.record.player_columns import Side
from autoloss.training.record.tensorboard import Board
from autoloss.training.step.notes import Noted, Notes
from autoloss.training.step.weigh import Weighed

BLOCK = 64


@dataclass(slots=True)
class _Step:
    """The step that is going on: what of it is recorded, and what would be if it turned out to be the last."""

    clock: Clock
    taken: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    waiting: dict[str, tuple[Weighed, Noted]] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)


class Recorder:
    """Records every ``every``-th step, ever fewer of them (:class:`Cadence`), and always the last one.

    ``players`` holds the :class:`Terms` of each player by name; a single one has an empty name. A step's players
    share a row. Steps at which gradients were measured for the record alone are recorded too. Rows of steps from
    ``start`` on are removed from an earlier file, so that a resumed run continues its own trajectory. ``measures`` says
    of which players the weighting looks at gradients. Who the players are is written to ``record.json``.
    """

    def __init__(
        self,
        directory: Path,
        players: Mapping[str, Terms],
        every: int = 10,
        start: int = 0,
        writer: SummaryWriter | None = None,
        dense: int = DENSE,
        measures: Mapping[str, bool] | None = None,
    ) -> None:
        self.cadence = Cadence(every, dense)
        self._sides = {name: Side(terms, name) for name, terms in players.items()}
        self._owned = writer is None
        self.writer = writer or SummaryWriter(str(directory))
        self._board = Board(self.writer, self._sides)
        self._file = Columns(directory / "trajectory.csv", [t for s in self._sides.values() for t in s.tags()], start)
        about = {
            name: {**terms.about(), "measures": (measures or {}).get(name, False)} for name, terms in players.items()
        }
        write_json(directory / "record.json", {"players": about, "every": every, "dense": dense})
        self._book = LossBook()
        self._step: _Step | None = None
        self._lately: defaultdict[str, list[float]] = defaultdict(list)
        self._seen: dict[str, Weighed] = {}

    def record(self, weighed: Weighed, player: str = "", notes: Notes | None = None) -> None:
        """Take down a micro-batch of ``player``, with its ``notes``; the first of a step is what is recorded.

        The same ``weighed`` twice (a player that did not take part in this step) counts once.
        """
        noted = Noted() if notes is None else notes.take()
        if self._seen.get(player) is weighed:
            return
        self._seen[player] = weighed
        clock = weighed.clock
        if self._step is None or self._step.clock.step != clock.step:
            self._turn()
            self._step = _Step(clock)
        step = self._step
        if player in {*step.taken, *step.waiting, *step.written}:
            return
        if self.cadence.due(clock.step) or weighed.probed is not None:
            step.taken[player] = self._sides[player].tensors(weighed, noted)
        else:
            step.waiting[player] = weighed, noted

    def flush(self) -> None:
        """Write what is recorded so far, the step that is going on too: nothing is lost if training ends here."""
        self._turn()
        self._write()

    def _write(self) -> None:
        pages = self._book.take()
        if not pages:
            return
        rows = [self._columns(page) for page in pages]
        self._file.append([(page.clock, row) for page, row in zip(pages, rows, strict=True)])
        for page, row in zip(pages, rows, strict=True):
            for tag, x in row.items():
                if tag.startswith("loss_raw/") and x == x:
                    self._lately[tag].append(x)
            self._board.scalars(row, page.clock.step, page.time)
        self._board.pictures(pages)

    def means(self) -> dict[str, float]:
        """The mean of each loss, as ``train_loss/name``, over what was recorded since this was last asked."""
        self.flush()
        found = {tag.replace("loss_raw", "train_loss", 1): fmean(values) for tag, values in self._lately.items()}
        self._lately.clear()
        return found

    def close(self) -> None:
        """Record the last step, write everything, and close the writer if it is ours."""
        if self._step is not None:
            for player, (weighed, noted) in self._step.waiting.items():
                self._step.taken[player] = self._sides[player].tensors(weighed, noted)
        self.flush()
        self._step = None
        self.writer.flush()
        if self._owned:
            self.writer.close()

    def _turn(self) -> None:
        if self._step is None or not self._step.taken:
            return
        taken = self._step.taken
        self._book.add(self._step.clock, {key: x for tensors in taken.values() for key, x in tensors.items()})
        self._step.written |= set(taken)
        taken.clear()
        if len(self._book) >= BLOCK:
            self._write()

    def _columns(self, page: Page) -> dict[str, float]:
        return {tag: x for side in self._sides.values() for tag, x in side.columns(page.numbers).items()}
