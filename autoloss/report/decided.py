"""What a search or a comparison has decided, at the head of its page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autoloss.core.io.text_table import number
from autoloss.report.page import Block, PageTable, Words


def decided(found: Mapping[str, Any]) -> list[Block]:
    """What to use, and what it does to each metric; nothing where that is not known yet."""
    decision = found.get("decision")
    if not decision:
        return []
    said = [decision["sentence"]]
    if weights := decision["final_weights"]:
        each = ", ".join(f"{name} {number(weight, '.4g')}" for name, weight in weights.items())
        said.append(f"Final weights of `{decision['label']}`: {each}.")
    if decision.get("command"):
        said.append(f"Next: `{decision['command']}`.")
    blocks: list[Block] = [Words("What to use", said)]
    if decision["table"]:
        # On a phone the first columns are seen: the change and its interval.
        header, *rows = [[row[i] for i in (0, 3, 4, 1, 2)] for row in decision["table"]]
        note = "Means over the seeds. A change is noise unless its paired t-test, corrected for all metrics, shows it."
        blocks.append(PageTable("What it does to each metric", header, rows, note))
    return blocks
