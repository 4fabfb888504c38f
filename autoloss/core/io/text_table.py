"""Tables of text, for terminals and Markdown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

BESIDE = 6  # metrics on one line of the screen


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


def leaderboard(rows: Sequence[Sequence[str]], metrics: Collection[int], left: Collection[int] = ()) -> str:
    """``rows`` as :func:`aligned` has them; of the columns ``metrics`` at most ``BESIDE`` beside each other.

    More metrics go below each other, in tables of their own: a line for each metric, and a column for each row, headed
    by the row's first cell. The first of ``rows`` is the header.

    >>> rows = [["rank", "run", *"abcdefg"], ["1", "x", *"1234567"], ["2", "y", *"7654321"]]
    >>> print(leaderboard(rows, metrics=range(2, 9), left=[1]))
    rank  run
       1  x
       2  y
    <BLANKLINE>
    rank  1  2
    a     1  7
    b     2  6
    c     3  5
    d     4  4
    e     5  3
    f     6  2
    g     7  1
    """
    header, *rest = rows
    if len(metrics) <= BESIDE:
        return aligned(rows, left)
    kept = [i for i in range(len(header)) if i not in metrics]
    tables = [aligned([[row[i] for i in kept] for row in rows], [kept.index(i) for i in left if i in kept])]
    for start in range(0, len(rest), BESIDE):
        some = rest[start : start + BESIDE]
        lines = [[header[0], *(row[0] for row in some)], *([header[i], *(row[i] for row in some)] for i in metrics)]
        tables.append(aligned(lines, left=[0]))
    return "\n\n".join(tables)


def listed(title: str, values: Mapping[str, float]) -> str:
    """``title`` and names with their numbers to four digits, on one line; more than ``BESIDE`` below each other.

    >>> listed("test", {"a": 1.0, "b": 0.12345})
    'test: a 1  b 0.1235'
    """
    if len(values) <= BESIDE:
        return f"{title}: {named(values)}"
    rows = [[f"  {name}", number(value, ".4g")] for name, value in values.items()]
    return f"{title}:\n{aligned(rows, left=[0])}"


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
