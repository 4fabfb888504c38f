"""Writes the record as TensorBoard events."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from autoloss.training.record.buffer import RecordedStep
from autoloss.training.record.heatmap import heatmap
from autoloss.training.record.player_columns import PlayerColumns

PICTURES = 64  # of each kind, at most about twice as many
# TensorBoard opens on the charts whose names come first: the weights, by a digit, which comes before letters.
FIRST, MARK = "loss_weight/", "1_"


class TensorBoardWriter:
    """Writes rows, heat maps and histograms, and charts that show all losses together."""

    def __init__(self, writer: SummaryWriter, players: Sequence[PlayerColumns]) -> None:
        self.writer, self.players = writer, players
        self._charts: dict[str, dict[str, list[object]]] = {}
        self._flushed = 0

    def scalars(self, row: Mapping[str, float], step: int, time: float) -> None:
        """Write the numbers of one step as one event; an event for each number would take twice the space."""
        self._layout(row)
        values = [Summary.Value(tag=tag_of(column), simple_value=x) for column, x in curves(row).items()]
        self.writer.file_writer.add_summary(Summary(value=values), step, time)  # type: ignore[attr-defined]

    def pictures(self, steps: Sequence[RecordedStep]) -> None:
        """Write heat maps and histograms of the last of ``steps``; ever less often in a long training."""
        number, self._flushed = self._flushed, self._flushed + 1
        if number % (1 << (number // PICTURES).bit_length()):
            return
        for player in self.players:
            self._heatmap(player, steps)
            found = [(step, player.distributions(step.numbers)) for step in steps]
            last = next(((step, of) for step, of in reversed(found) if of), None)
            for tag, edges in last[1].items() if last else ():
                if last and all(edge == edge for edge in edges):
                    histogram(self.writer, tag, edges, last[0].clock.step)

    def _heatmap(self, player: PlayerColumns, steps: Sequence[RecordedStep]) -> None:
        for step in reversed(steps):
            if len(cosines := player.cosines(step.numbers)) > 1:
                picture = heatmap(cosines, player.terms.units)
                self.writer.add_image(player.tag("grad_cosine"), picture, step.clock.step)
                return

    def _layout(self, row: Mapping[str, float]) -> None:
        """The charts of the page of custom scalars: the weights first, below each other; then losses and gradients."""
        found = False
        for player in self.players:
            for of, tags in player.charts().items():
                # The page takes a tag for a pattern, which may be one of another tag's beginning.
                if shown := [f"^{re.escape(tag_of(tag))}$" for tag in tags if tag in row]:
                    charts = self._charts.setdefault(of.category, {})
                    title = f"{player.player}: {of.chart}" if player.player else of.chart
                    found |= title not in charts
                    charts[title] = ["Multiline", shown]
        if found:
            self.writer.add_custom_scalars(self._charts)


def tag_of(column: str) -> str:
    """The tag under which TensorBoard shows a column of the record.

    >>> tag_of("loss_weight/left"), tag_of("loss_raw/left")
    ('1_loss_weight/left', 'loss_raw/left')
    """
    return f"{MARK}{column}" if column.startswith(FIRST) else column


def curves(row: Mapping[str, float]) -> dict[str, float]:
    """The numbers of a row that are drawn as curves: those that were measured, without the cosine of each pair."""
    # A line for each pair would be too many: a heat map shows the pairs, and the lowest cosine is a line.
    return {tag: x for tag, x in row.items() if x == x and not tag.startswith("grad_cosine/")}


def histogram(writer: SummaryWriter, tag: str, edges: Sequence[float], step: int) -> None:
    """Write a distribution, given by its quantiles ``edges``, which are evenly spaced in probability.

    Between two neighbours lie equally many values. A quantile that occurs several times (weights that are all 0) is
    one narrow bin that holds all of their values.
    """
    limits, counts = [edges[0]], [0.0]
    for high in edges[1:]:
        if high > limits[-1]:
            limits.append(high)
            counts.append(1.0)
        else:
            counts[-1] += 1.0
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    writer.add_histogram_raw(
        tag,
        min=edges[0],
        max=edges[-1],
        num=len(middles),
        sum=sum(middles),
        sum_squares=sum(x * x for x in middles),
        bucket_limits=limits,
        bucket_counts=counts,
        global_step=step,
    )


def write_text(writer: SummaryWriter, tag: str, config: Mapping[str, object]) -> None:
    """Write the resolved configuration, a key on each line."""
    # Markdown shows indented lines as code, so no name can be taken for markup.
    writer.add_text(tag, "\n".join(f"    {key}: {value}" for key, value in flat(config)))


def write_leaderboard(directory: Path, markdown: str) -> None:
    """Write a leaderboard as a run of its own; it replaces an earlier one."""
    for before in directory.glob("events.out.tfevents.*"):
        before.unlink()
    with SummaryWriter(str(directory)) as writer:
        writer.add_text("leaderboard", markdown)


def flat(config: Mapping[str, object], prefix: str = "") -> list[tuple[str, object]]:
    """The plain values of ``config`` by dotted key."""
    rows: list[tuple[str, object]] = []
    for key, value in config.items():
        rows += flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [(f"{prefix}{key}", value)]
    return rows
