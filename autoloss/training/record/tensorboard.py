"""What the record looks like in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from autoloss.training.record.buffer import Page
from autoloss.training.record.heatmap import heatmap
from autoloss.training.record.player_columns import Side

CHARTS = {
    "loss weights": "loss_weight",
    "raw losses": "loss_raw",
    "weighted losses": "loss_weighted",
    "shares of the total": "loss_share",
    "gradient norms": "grad_norm",
    "shares of the gradient": "grad_share",
}
PICTURES = 64  # of each kind, at most about twice as many


class Board:
    """Writes rows, heat maps and histograms, and one chart for all losses as soon as there is anything in it."""

    def __init__(self, writer: SummaryWriter, sides: Mapping[str, Side]) -> None:
        self.writer, self.sides = writer, sides
        self._charts: dict[str, list[object]] = {}
        self._flushed = 0

    def scalars(self, row: Mapping[str, float], step: int, time: float) -> None:
        """Write the numbers of one step as one event; one for each number would take twice the room."""
        self._layout(row)
        # A line for each pair of losses would drown the rest: their heat map shows them, and the lowest is a line.
        shown = {tag: x for tag, x in row.items() if x == x and not tag.startswith("grad_cosine/")}
        values = [Summary.Value(tag=tag, simple_value=x) for tag, x in shown.items()]
        self.writer.file_writer.add_summary(Summary(value=values), step, time)  # type: ignore[attr-defined]

    def pictures(self, pages: Sequence[Page]) -> None:
        """Write the last page's heat maps and histograms; the more there were, the fewer follow."""
        number, self._flushed = self._flushed, self._flushed + 1
        if number % (1 << (number // PICTURES).bit_length()):
            return
        for side in self.sides.values():
            self._heatmap(side, pages)
            found = [(page, side.distributions(page.numbers)) for page in pages]
            last = next(((page, of) for page, of in reversed(found) if of), None)
            for tag, edges in last[1].items() if last else ():
                if last and all(edge == edge for edge in edges):
                    histogram(self.writer, tag, edges, last[0].clock.step)

    def _heatmap(self, side: Side, pages: Sequence[Page]) -> None:
        found = ((page, side.cosines(page.numbers)) for page in reversed(pages))
        page, cosines = next((one for one in found if one[1] is not None), (None, None))
        if page is not None and cosines is not None and len(cosines) > 1:
            picture = heatmap(cosines, side.terms.units)
            self.writer.add_image(side.tag("grad_cosine"), picture, page.clock.step)

    def _layout(self, row: Mapping[str, float]) -> None:
        charts: dict[str, list[object]] = {}
        for side in self.sides.values():
            before = f"{side.player}: " if side.player else ""
            for title, kind in CHARTS.items():
                names = dict.fromkeys([*side.terms.names, *side.terms.units])
                tags = [tag for name in names if (tag := side.tag(kind, name)) in row]
                if tags:
                    charts[before + title] = ["Multiline", tags]
        if any(title not in self._charts for title in charts):
            self._charts |= charts
            self.writer.add_custom_scalars({"autoloss": self._charts})


def histogram(writer: SummaryWriter, tag: str, edges: Sequence[float], step: int) -> None:
    """Write a distribution that is known by its quantiles ``edges``, evenly spaced in probability.

    Each part between two of them holds as many values; a quantile that occurs several times (weights that are all 0)
    is one narrow part with all of theirs.
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


def write_hparams(writer: SummaryWriter, config: Mapping[str, object], metrics: Mapping[str, float]) -> None:
    """Write the run's row of the HPARAMS table: plain values by dotted key, and its metrics."""
    plain = {key: value for key, value in flat(config) if isinstance(value, (bool, int, float, str))}
    for summary in hparams(plain, dict(metrics)):
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]


def write_text(writer: SummaryWriter, tag: str, config: Mapping[str, object]) -> None:
    """Write the resolved configuration, a key on each line."""
    # Indented it is code to Markdown, whatever a name looks like.
    writer.add_text(tag, "\n".join(f"    {key}: {value}" for key, value in flat(config)))


def write_leaderboard(directory: Path, markdown: str) -> None:
    """Write a leaderboard as a run of its own, in place of an earlier one."""
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
