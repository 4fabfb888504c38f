"""A table in memory as a problem."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from autoloss.problems._sheet import Sheet, sheet_of
from autoloss.problems.tabular import Tabular


class _Table(Tabular):
    """The columns of a table in memory."""

    def __init__(self, table: Any, targets: str | Sequence[str | int], **options: Any) -> None:
        self._table = sheet_of(table)
        super().__init__("", targets, **options)

    def sheet(self, csv: str, encoding: str) -> Sheet:
        return self._table


def tabular(table: Any, targets: str | Sequence[str | int], **options: Any) -> Tabular:
    """The problem :class:`Tabular` of a table in memory: several columns predicted from the others.

    Args:
        table: a DataFrame of pandas or Polars, a table of PyArrow, or a mapping of columns of equal length. Cells are
            read as those of a CSV file are: text that is a number is one. Nothing, None and NaN are missing values.
        targets: names of the columns to predict.
        options: the other parameters of :class:`Tabular`, by name (``kinds``, ``ignore``, ``hidden``, ``val``, ...).

    Raises :class:`ConfigError` as :class:`Tabular` does; a "line" is then the number of a row, from 1.
    """
    return _Table(table, targets, **options)
