"""The page of a comparison, from its ``compare.json``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autoloss.core.io.files import read_mapping
from autoloss.core.io.text_table import span
from autoloss.report.board_charts import against, fronts, intervals, shifted, spread, weights_by_choice
from autoloss.report.commands import again, shown
from autoloss.report.decided import decided
from autoloss.report.intervals import interval
from autoloss.report.page import Block, Cell, Chart, Code, Page, PageTable, Words
from autoloss.report.said import shortened
from autoloss.report.sweep_page import cell, link


def compare_page(directory: Path, found: Mapping[str, Any]) -> Page:
    """Each choice compared with the baseline, paired by seed or fold."""
    rows: list[Mapping[str, Any]] = found["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row["weights"]))
    blocks: list[Block] = [*decided(found), Words("What was found", found["notes"])]
    if rows:
        blocks += [_chart(found), _table(found)]
        blocks += weights_by_choice([(row["label"], row["weights"]) for row in rows], names)
        places = [(row["label"], directory / place) for row in rows for place in row["places"]]
        blocks += [
            *fronts([(row["label"], row["label"], row["metrics"]) for row in rows], found["goals"]),
            *against(places),
        ]
        blocks.append(_runs(places, directory))
    blocks.append(Code("Again", again(directory)))
    facts = [("choices", str(len(rows))), ("baseline", found["baseline"]), ("data", found["split"])]
    return Page(_title(found, directory), shown(directory), facts, blocks, names)


def _title(found: Mapping[str, Any], directory: Path) -> str:
    labels = [row["label"] for row in found["rows"]]
    if not labels:
        return "Comparison"
    places = (directory / place / "summary.json" for row in found["rows"] for place in row["places"])
    problem = next((of.get("problem") for of in map(read_mapping, places) if of), None)
    return f"Comparison of {shortened(labels, 'choices')}" + (f" on {problem}" if problem else "")


def _chart(found: Mapping[str, Any]) -> Chart:
    base = next(interval(row["scores"])[0] for row in found["rows"] if row["label"] == found["baseline"])
    rows = [
        spread(row["label"], row["scores"], shifted(base, row["low"], row["high"]), row["label"], row["words"])
        for row in found["rows"]
    ]
    note = f"On {found['split']} data. Line: 95 % interval of the difference to `{found['baseline']}`, paired."
    return intervals("Score", rows, "score (0: the baseline)", f"{note} Grey: single runs.")


def _table(found: Mapping[str, Any]) -> PageTable:
    rows: list[list[str | Cell]] = []
    for row in found["rows"]:
        ends = span(row["low"], row["high"], "+.4f") if row["low"] is not None else "-"
        p = cell(row["p"], ".3g") if row["p"] is not None else "-"
        head = [row["label"], str(len(row["scores"])), cell(interval(row["scores"])[0], "+.4f"), ends, p]
        numbers = [cell(row["metrics"][goal], ".4g") for goal in found["goals"]]
        rows.append([*head, *numbers, cell(row["weight_sum"], ".3g"), row["words"]])
    tested = ["choice", "runs", "score", "95 % interval of the difference", "p (Holm)"]
    return PageTable("Leaderboard", [*tested, *found["goals"], "sum of weights", "verdict"], rows)


def _runs(places: list[tuple[str, Path]], directory: Path) -> PageTable:
    rows: list[list[str | Cell]] = [
        [label, Cell(place.relative_to(directory).as_posix(), None, link(place, directory))] for label, place in places
    ]
    return PageTable("Runs", ["choice", "run"], rows)
