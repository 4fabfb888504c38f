"""A column of a sheet whose values are groups of rows."""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.problems._column import Column

MOST = 100
MISSING = "missing"


@dataclass(frozen=True)
class GroupColumn:
    """The group of each row by its number, ``codes`` [N] from 0, and the names of the ``groups``."""

    name: str
    codes: Tensor
    groups: tuple[str, ...]

    @staticmethod
    def of(column: Column) -> GroupColumn:
        """The groups of ``column``: its different cells, with ``_`` for what is no letter or digit, in their order."""
        taken = column.name == "inputs" or column.name.startswith(("target ", "present "))
        require(not taken, "A column of groups must have a name of its own", f"it is {column.name!r}", "Rename it.")
        cells = sorted(column.distinct)
        rule = f"A column of groups must have from 2 to {MOST} different values"
        require(2 <= len(cells) <= MOST, rule, f"{column.name!r} has {len(cells)}", "Name another one in `keys`.")
        groups = [re.sub(r"[^\w-]", "_", cell) for cell in cells] + [MISSING] * (None in column.cells)
        distinct = len(set(groups)) == len(groups)
        require(
            distinct,
            "The groups of a column must have distinct names",
            f"those of {column.name!r} are {groups}",
            "Write those cells otherwise.",
        )
        index: dict[str | None, int] = {cell: i for i, cell in enumerate(cells)}
        codes = torch.tensor([index.get(cell, len(cells)) for cell in column.cells])
        return GroupColumn(column.name, codes, tuple(groups))
