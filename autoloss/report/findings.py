"""What a search, comparison or sweep found, as sentences and tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from autoloss.report.notebook import as_html
from autoloss.report.page import Cell, Page, PageTable, Words


@dataclass(frozen=True)
class Findings:
    """What the search, comparison or sweep in ``directory`` found: what its page says, without the charts.

    ``title`` is the page's; ``facts`` are its few large values by name; ``sentences`` say what was found;
    ``tables`` holds the rows of each table by its title, best first. A row has a value for each column: a number
    where the page sorts by one, else text. ``pandas.DataFrame(findings.tables["Leaderboard"])`` is a DataFrame.
    """

    directory: Path
    title: str
    facts: Mapping[str, str]
    sentences: tuple[str, ...]
    tables: Mapping[str, list[dict[str, Any]]]

    @classmethod
    def of(cls, directory: Path, page: Page) -> Findings:
        """The sentences and tables of ``page``, which speaks of ``directory``."""
        said = tuple(sentence for block in page.blocks if isinstance(block, Words) for sentence in block.sentences)
        tables = {
            block.title: [dict(zip(block.header, map(_value, row), strict=True)) for row in block.rows]
            for block in page.blocks
            if isinstance(block, PageTable)
        }
        return cls(directory, page.title, dict(page.facts), said, tables)

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.facts.items())
        return f"<{self.title} ({facts})>" + "".join(f"\n{sentence}" for sentence in self.sentences[:1])

    def _repr_html_(self) -> str:
        return as_html(self.title, self.sentences, self.tables)


def _value(cell: str | Cell) -> Any:
    if isinstance(cell, str):
        return cell
    return cell.text if cell.key is None else cell.key
