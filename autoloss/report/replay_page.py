"""The page of a replay: the weights that other weightings would have given in a run."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from autoloss.core.io.text_table import number
from autoloss.report.commands import shown
from autoloss.report.page import Block, Cell, Page, PageTable, Words
from autoloss.report.record import Array, PlayerRecord, RunRecord
from autoloss.report.run_page import changes, colour_names, lines, title
from autoloss.report.scale import tenfold

Replayed = tuple[Array, Mapping[str, Array]]


def replay_page(record: RunRecord, part: PlayerRecord, found: Mapping[str, Replayed]) -> Page:
    """The weights of each weighting in ``found`` (steps, and weights by loss) beside those of the run."""
    own = {part.title(name): x for name, x in part.weights.items()}
    blocks: list[Block] = [Words("What this is", _said(record, found)), _table(record, own, found)]
    log = tenfold([*own.values(), *(x for _, of in found.values() for x in of.values())])
    sizes = changes(part)
    blocks.append(lines("The run itself", record.steps, own, "Its own weights.", log, sizes))
    for name, (steps, weights) in found.items():
        blocks.append(lines(name, steps, weights, "The weights that it would have given.", log, sizes))
    facts = [("weightings", str(len(found))), ("recorded steps", f"{len(record.steps):,}")]
    return Page(f"Replay of {title(record)}", shown(record.directory), facts, blocks, colour_names([record]))


def _said(record: RunRecord, found: Mapping[str, Replayed]) -> list[str]:
    gap = float(np.median(np.diff(record.steps))) if len(record.steps) > 1 else 1.0
    said = ["The losses and gradients are those of the recorded run; other weights would have changed the training."]
    if gap > 1:
        said.append(f"Every {gap:.0f}th step was recorded: a weighting that learns over steps learns from these only.")
    part = [name for name, (steps, _) in found.items() if len(steps) < len(record.steps)]
    if part:
        said.append(f"{', '.join(f'`{n}`' for n in part)} saw only the steps at which gradients were measured.")
    return said


def _table(record: RunRecord, own: Mapping[str, Array], found: Mapping[str, Replayed]) -> PageTable:
    rows: list[list[str | Cell]] = [["the run itself", *(_end(x) for x in own.values()), "-"]]
    for name, (steps, weights) in found.items():
        at = np.isin(record.steps, steps)
        apart = [_apart(weights[loss], own[loss][at]) for loss in own]
        apart = [x for x in apart if np.isfinite(x)]
        mean = float(np.mean(apart)) if apart else np.nan
        rows.append(
            [name, *(_end(weights[loss]) for loss in own), Cell(f"{np.exp(mean):.2f}x", mean) if apart else "-"]
        )
    note = "Medians over the last tenth. The last column is the mean factor between these weights and those of the run."
    return PageTable("Weights at the end", ["weighting", *own, "factor to the run"], rows, note)


def _apart(one: Array, other: Array) -> float:
    known = np.isfinite(one) & np.isfinite(other) & (one > 0) & (other > 0)
    return float(np.abs(np.log(one[known] / other[known])).mean()) if known.any() else np.nan


def _end(values: Array) -> Cell | str:
    known = values[np.isfinite(values)]
    if not len(known):
        return "-"
    last = float(np.median(known[-max(1, round(0.1 * len(known))) :]))
    return Cell(number(last, ".4g"), last)
