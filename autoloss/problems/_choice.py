"""Which columns of a sheet are predicted, and from which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autoloss.core.errors import check_known, require, unknown
from autoloss.problems._target import LOSSES

INPUT_KINDS = ("numeric", "categorical", "date")


def markers(given: str | Sequence[str | float]) -> set[str]:
    """Cells as they are compared: without spaces around them, in lower case."""
    return {str(cell).strip().lower() for cell in ([given] if isinstance(given, str) else given)}


def names_of(given: str | Sequence[str | int]) -> list[str]:
    """The names of columns that are given: one, or a list."""
    return list(dict.fromkeys([given] if isinstance(given, str) else map(str, given)))


def chosen(
    columns: Mapping[str, object], targets: list[str], inputs: list[str], ignore: list[str]
) -> tuple[list[str], list[str]]:
    """The names of the columns to predict, and of those to predict from."""
    check_known("column", [*targets, *inputs, *ignore], columns)
    require(len(targets) > 0, "`targets` must name columns", "it is empty")
    twice = next((name for name in inputs if name in targets), "")
    require(not twice, "A column must be a target or an input", f"{twice!r} is both")
    known = [name for name in inputs or columns if name not in targets and name not in ignore]
    require(len(known) > 0, "There must be inputs", "every column is a target or ignored")
    return targets, known


def check_kinds(kinds: Mapping[str, str], columns: Mapping[str, object], targets: Sequence[str]) -> None:
    """Raise unless each of ``kinds`` is that of a target or an input, of a column that there is."""
    for name, kind in kinds.items():
        if name not in columns:
            raise unknown("column", name, columns)
        options = list(LOSSES) if name in targets else list(INPUT_KINDS)
        if kind not in options:
            raise unknown(f"kind of {'target' if name in targets else 'input'}", str(kind), options)
