"""The page of a diagnosis, from its ``diagnosis.json`` and the runs beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autoloss.report.commands import again, shown
from autoloss.report.page import Block, Cell, Code, Page, PageTable, Words
from autoloss.report.record import read_record
from autoloss.report.run_page import charts, colour_names
from autoloss.report.runs import read_runs
from autoloss.report.sweep_page import cell, runs_table


def diagnosis_page(directory: Path, found: Mapping[str, Any]) -> Page:
    """What was measured about a problem, and what to try."""
    blocks: list[Block] = [
        Words("Weightings to try", found["weightings"]),
        Words("Losses to try", found["losses"] or ["The targets give no reason for another loss."]),
        Words("Is a search worth it?", found["worth"]),
    ]
    blocks += [_traits(found["traits"]), *_targets(found["targets"])]
    first = read_record(directory / found["runs"][0])
    for part in first.parts.values():
        blocks += charts(part, first.steps)
    runs = read_runs(directory)
    metrics = list(next((r.summary["metrics"] for r in runs if r.summary), {}))
    blocks += [runs_table(runs, metrics, directory), Code("Again", again(directory))]
    facts = [
        ("problem", str(found["problem"])),
        ("runs", str(len(found["runs"]))),
        ("epochs each", str(found["epochs"])),
    ]
    return Page(f"Diagnosis of {found['problem']}", shown(directory), facts, blocks, colour_names([first]))


def _traits(traits: Sequence[Mapping[str, Any]]) -> PageTable:
    forms = {"first": ".3g", "last": ".3g", "norm": ".3g", "share": ".1%", "conflicts": ".0%", "cosine": ".2f"}
    rows: list[list[str | Cell]] = []
    for t in traits:
        rows.append([str(t["name"]), *("-" if t[key] is None else cell(t[key], form) for key, form in forms.items())])
    header = ["loss", "at the start", "at the end", "gradient norm", "share of gradient", "most frequent conflict"]
    note = "Means over the runs with equal weights."
    return PageTable("What was measured", [*header, "lowest mean cosine"], rows, note)


def _targets(targets: Mapping[str, Mapping[str, Any]]) -> list[Block]:
    rows: list[list[str | Cell]] = []
    for name, t in targets.items():
        rare = cell(t["rarest"], ".2%") if t["classes"] else "-"
        tails = cell(t["kurtosis"], ".3g") if t["kind"] == "numbers" else "-"
        rows.append([name, str(t["kind"]), cell(t["count"], ",.0f"), rare, tails])
    header = ["term", "kind", "targets", "rarest class", "kurtosis"]
    return [PageTable("Targets", header, rows)] if rows else []
