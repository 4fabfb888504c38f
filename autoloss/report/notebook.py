"""How a record, a search or a comparison looks in a notebook: short as text, a table as HTML.

Numbers are written with four digits; a name or a sentence can contain any character, so all of them are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from markupsafe import Markup, escape

from autoloss.core.io.text_table import number
from autoloss.report.page import named

SHOWN = 12  # rows of a table, and names on a line

Rows = Sequence[Mapping[str, Any]]


def as_html(title: str, sentences: Iterable[str], tables: Mapping[str, Rows]) -> str:
    """A heading, sentences and tables; of a long table the first ``SHOWN`` rows, and how many more there are.

    >>> as_html("Run", ["a < b"], {})
    '<div><strong>Run</strong><p>a &lt; b</p></div>'
    """
    parts = [Markup("<strong>{}</strong>").format(title)]
    parts += [Markup("<p>{}</p>").format(named(sentence)) for sentence in sentences]
    parts += [_table(name, rows) for name, rows in tables.items() if rows]
    return str(Markup("<div>{}</div>").format(Markup("").join(parts)))


def numbers(values: Mapping[str, float]) -> str:
    """Names with their numbers, on one line: at most ``SHOWN``, and how many more there are.

    >>> numbers({"left": 0.41234, "right": 1.6})
    'left 0.4123, right 1.6'
    """
    shown = [f"{name} {_text(value)}" for name, value in list(values.items())[:SHOWN]]
    return ", ".join(shown + ([f"{len(values) - SHOWN} more"] if len(values) > SHOWN else []))


def _table(name: str, rows: Rows) -> Markup:
    columns = list(dict.fromkeys(column for row in rows for column in row))
    lines = [columns, *([_text(row.get(column, "")) for column in columns] for row in rows[:SHOWN])]
    head, *body = [
        Markup("<tr>{}</tr>").format(Markup("").join(Markup(f"<{tag}>{{}}</{tag}>").format(text) for text in line))
        for tag, line in zip(["th", *["td"] * len(lines)], lines, strict=False)
    ]
    more = f" (the first {SHOWN} of {len(rows)})" if len(rows) > SHOWN else ""
    caption = Markup("<caption>{}{}</caption>").format(escape(name), more)
    return Markup("<table>{}<thead>{}</thead><tbody>{}</tbody></table>").format(caption, head, Markup("").join(body))


def _text(value: Any) -> str:
    return number(value, ".4g") if isinstance(value, float) else str(value)
