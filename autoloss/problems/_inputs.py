"""Columns of a sheet as the inputs of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.problems._column import Column, center_and_scale

MOST = 1000  # categories of one column


class Numeric:
    """A column of numbers, standardised; a missing one is 0, and 1 in an indicator beside it.

    There is an indicator if a number is missing in ``rows``.
    """

    def __init__(self, column: Column, rows: Tensor) -> None:
        self.numbers = column.numbers()
        self.indicated = bool(self.numbers[rows].isnan().any())
        self.width = 1 + self.indicated

    def encoded(self, fit: Tensor, rows: Tensor) -> Tensor:
        """The inputs of ``rows``, [len(rows), width], by the statistics of the rows ``fit``."""
        center, scale = center_and_scale(self.numbers[fit])
        standard = (self.numbers[rows] - center) / scale
        missing = self.numbers[rows].isnan()
        parts = [standard.nan_to_num(), missing] if self.indicated else [standard.nan_to_num()]
        return torch.stack([part.float() for part in parts], dim=1)


class Categorical:
    """A column of text, one-hot; all zeros where it is missing, or no category of the rows that are fitted to.

    There is an input for each category in ``rows``.
    """

    def __init__(self, column: Column, rows: Tensor) -> None:
        categories = sorted({cell for row in rows.tolist() if (cell := column.cells[row]) is not None})
        require(
            len(categories) <= MOST,
            f"A column of text must have at most {MOST} categories",
            f"{column.name!r} has {len(categories)}",
            "Leave it out with `ignore`.",
        )
        index: dict[str | None, int] = {cell: i for i, cell in enumerate(categories)}
        # The last code stands for everything that has no input of its own.
        self.codes = torch.tensor([index.get(cell, len(index)) for cell in column.cells])
        self.width = len(categories)

    def encoded(self, fit: Tensor, rows: Tensor) -> Tensor:
        """The inputs of ``rows``, [len(rows), width], with the categories of the rows ``fit``."""
        categories = torch.arange(self.width)
        known = torch.isin(categories, self.codes[fit])
        return ((self.codes[rows].unsqueeze(1) == categories) & known).float()


class InputColumns:
    """Input columns; the training rows say which categories and indicators there are.

    They stay the same when other rows are fitted to (folds), so that one network suits all folds. ``kinds`` says
    ``numeric`` (or ``date``, which is numbers of days) or ``categorical`` for columns whose cells should not decide it.
    """

    def __init__(self, columns: Sequence[Column], kinds: Mapping[str, str], rows: Tensor) -> None:
        self.parts = [
            Categorical(column, rows)
            if kinds.get(column.name, "numeric" if column.numeric else "categorical") == "categorical"
            else Numeric(column, rows)
            for column in columns
        ]
        self.width = sum(part.width for part in self.parts)
        require(self.width > 0, "Inputs must hold values in the training rows", "every cell of them is missing")

    def encoded(self, fit: Tensor, rows: Tensor) -> Tensor:
        """The inputs of ``rows``, [len(rows), width], by what is known from the rows ``fit`` alone."""
        return torch.cat([part.encoded(fit, rows) for part in self.parts if part.width], dim=1)
