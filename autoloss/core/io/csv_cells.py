"""Texts in CSV files: a spreadsheet takes one that begins with ``=`` for a formula, and runs it."""

from __future__ import annotations

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def escaped(text: object) -> str:
    """``text`` as a cell: with ``'`` before what a spreadsheet would take for a formula; a number stays a number.

    >>> [escaped(x) for x in ("=1+1", "-0.5", -0.5, "-x", "'=", "'a'", "")]
    ["'=1+1", '-0.5', '-0.5', "'-x", "''=", "'a'", '']
    """
    shown = str(text)
    return f"'{shown}" if _FORMULA.match(shown) and not _is_number(shown) else shown


def unescaped(cell: str) -> str:
    """The text that :func:`escaped` wrote as ``cell``."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
