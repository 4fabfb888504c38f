"""Tables of text, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence


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
    """``value`` in ``form``, or a dash for NaN; what is rounded to 0 has no minus.

    >>> number(-0.00001, "+.4f"), number(-0.5, "+.4f"), number(0.5, "+.4f")
    ('+0.0000', '-0.5000', '+0.5000')
    """
    if value != value:
        return "-"
    text = format(value, form)
    return text if text.strip("+-0.") else format(0.0, form)


def span(low: float, high: float, form: str) -> str:
    """The interval from ``low`` to ``high``.

    >>> span(-0.25, 0.5, "+.2f")
    '-0.25 to +0.50'
    """
    return f"{number(low, form)} to {number(high, form)}"


def named(values: Mapping[str, float]) -> str:
    """Each of ``values`` behind its name, on one line.

    >>> named({"left": 0.5, "right": -0.0})
    'left 0.5  right 0'
    """
    return "  ".join(f"{name} {number(value, '.4g')}" for name, value in values.items())
