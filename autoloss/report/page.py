"""Renders a page as one HTML file that needs no other file."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

DIGITS = 5


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its ``kind`` in ``charts.js``, and its numbers.

    What is drawn for a name (of ``series``, ``groups`` or, in a chart of intervals, ``rows``) has the mark of that name
    on the whole page; ``of`` says whose mark it is, where its own text says more: ``left (validation)`` is of ``left``.
    """

    title: str
    kind: str
    data: Mapping[str, Any]
    note: str = ""
    tall: bool = False

    @property
    def identities(self) -> list[str]:
        """The names whose marks the chart shows, in its order."""
        key = {"lines": "series", "area": "series", "dots": "series", "scatter": "groups", "intervals": "rows"}
        return [str(one.get("of", one["name"])) for one in self.data.get(key.get(self.kind, ""), ())]


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table; it sorts by ``key`` if it has one, else by its text, and may be a link."""

    text: str
    key: float | None = None
    link: str = ""


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table that readers can sort."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str | Cell]]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Words:
    """Sentences; text between backticks is a name."""

    title: str
    sentences: Sequence[str]


@dataclass(frozen=True, slots=True)
class Code:
    """Lines to copy: commands, or (``folded``) a configuration."""

    title: str
    lines: Sequence[str]
    note: str = ""
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture: the bytes of a PNG file."""

    title: str
    png: bytes
    note: str = ""

    @property
    def address(self) -> str:
        """The whole picture as an address, so that the page needs no other file."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode()}"


Block = Chart | PageTable | Words | Code | Picture


@dataclass(frozen=True, slots=True)
class Page:
    """A page: ``facts`` are shown large; ``names`` (losses) come first in the order of marks."""

    title: str
    subtitle: str
    facts: Sequence[tuple[str, str]]
    blocks: Sequence[Block]
    names: Sequence[str] = field(default_factory=list)

    @property
    def marks(self) -> dict[str, int]:
        """The place of each name among colours, markers and dashes: one place on the whole page."""
        charts = [block for block in self.blocks if isinstance(block, Chart)]
        everyone = dict.fromkeys([*self.names, *(name for chart in charts for name in chart.identities)])
        return {name: place for place, name in enumerate(everyone)}


def choice(label: str) -> str:
    """Whose mark a weighting or a choice of a comparison has: not that of a loss of the same name.

    >>> choice("equal")
    'choice equal'
    """
    return f"choice {label}"


def render(page: Page) -> str:
    """The page as HTML: every text escaped, every number and script inside the file."""
    charts = {f"chart-{i}": block for i, block in enumerate(page.blocks) if isinstance(block, Chart)}
    data = {
        "marks": page.marks,
        "charts": {key: {"kind": chart.kind, "title": chart.title, **chart.data} for key, chart in charts.items()},
    }
    return _template().render(
        page=page,
        kinds={i: type(block).__name__ for i, block in enumerate(page.blocks)},
        css=Markup(_asset("page.css")),
        js=Markup(_asset("charts.js") + _asset("page.js")),
        # Compressed, the library and the numbers take a third of the space, and no name in them can end the script.
        library=_library() if charts else "",
        data=packed(json.dumps(plain(data), allow_nan=False, separators=(",", ":"))),
    )


def plain(value: Any) -> Any:
    """``value`` for JSON: arrays as lists, numbers with five digits, NaN and infinity as ``None``."""
    if isinstance(value, np.ndarray):
        return [plain(x) for x in value.tolist()]
    if isinstance(value, Mapping):
        return {str(key): plain(of) for key, of in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(x) for x in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short = float(f"{value:.{DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 1e15 else short
    return value


def packed(text: str) -> str:
    """``text`` compressed, as letters and digits."""
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def unpacked(letters: str) -> str:
    """The inverse of :func:`packed`."""
    return gzip.decompress(base64.b64decode(letters)).decode()


def named(sentence: str) -> Markup:
    """``sentence`` as HTML, escaped, with text between backticks as code."""
    parts: Iterable[tuple[int, str]] = enumerate(sentence.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in parts)


@lru_cache(maxsize=1)
def _library() -> str:
    return packed(_asset("echarts.min.js"))


@lru_cache(maxsize=1)
def _template() -> Any:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["named"] = named
    return environment.from_string(_asset("page.html"))


def _asset(name: str) -> str:
    return (files("autoloss.report") / "assets" / name).read_text(encoding="utf-8")
