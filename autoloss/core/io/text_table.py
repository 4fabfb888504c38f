"""Tables of text, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def aligned(rows: Sequence[Sequence[str]], left: Collection[int] = ()) -> str:
    """``rows`` in columns, aligned to the right except for the columns ``left``.

    >>> print(aligned([["run", "score"], ["a", "10"]], left=[0]))
    run  score
    a       10
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True)))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """``rows`` as a Markdown table; the first row is the header."""
    header, *rest = rows
    lines = ["| " + " | ".join(map(_escaped, header)) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(_escaped(cell) for cell in row) + " |" for row in rest)])


def _escaped(cell: str) -> str:
    """``cell`` on one line, without tags: a name can contain any character."""
    return " ".join(cell.split()).replace("|", "\\|").replace("<", "&lt;")


def number(value: float, form: str) -> str:
    """``value`` in ``form``, or a dash for NaN."""
    return format(value, form) if value == value else "-"
