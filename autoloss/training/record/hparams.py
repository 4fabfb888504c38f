"""The rows of TensorBoard's table of hyper-parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

Plain = bool | int | float | str
SCORE = "score"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A run's row: its ``values`` by column.

    TensorBoard takes the columns from one run alone. A run says them itself, with that for its score, unless it is one
    of a search (not ``listed``), whose trials have other columns each: the search says them for all.
    """

    values: Mapping[str, Plain]
    listed: bool = True


def write_row(writer: SummaryWriter, row: TableRow, metrics: Mapping[str, float]) -> None:
    """Write a run's row, and its columns if they are ``listed``."""
    columns, start, end = hparams(dict(row.values), dict.fromkeys([SCORE, *metrics], 0.0))
    for summary in (columns, start, end) if row.listed else (start, end):
        writer.file_writer.add_summary(summary)  # type: ignore[attr-defined]


def write_columns(writer: SummaryWriter, rows: Iterable[Mapping[str, Plain]], metrics: Iterable[str]) -> None:
    """Write the columns of a table with all ``rows``; one with values of several types holds text."""
    found: dict[str, Plain] = {}
    for row in rows:
        for name, value in row.items():
            same = name not in found or isinstance(value, str) == isinstance(found[name], str)
            found[name] = value if same else str(value)
    columns, _, _ = hparams(found, dict.fromkeys([SCORE, *metrics], 0.0))
    writer.file_writer.add_summary(columns)  # type: ignore[attr-defined]


def write_scores(scores: Mapping[Path, float]) -> None:
    """Write the score of each run, which is known only when others are finished, into the directory of the run."""
    for directory, score in scores.items():
        if not directory.is_dir():
            continue
        for earlier in directory.glob(f"events.out.tfevents.*.{SCORE}"):
            earlier.unlink()
        with SummaryWriter(str(directory), filename_suffix=f".{SCORE}") as writer:
            writer.add_scalar(SCORE, score)
