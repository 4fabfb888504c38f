"""One column of a sheet: numbers or classes, with gaps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError

FEW = 10  # up to so many different numbers may be classes
UNIQUE = 0.9  # the share of different cells above which text identifies its row


@dataclass(frozen=True)
class Column:
    """N cells of text, ``None`` where missing, and the line of the file that each is in."""

    name: str
    cells: Sequence[str | None]
    lines: Sequence[int]

    @cached_property
    def distinct(self) -> dict[str, float | None]:
        """The different cells in the order of the file, each with the number that it is, if it is one."""
        return {cell: number_in(cell) for cell in dict.fromkeys(self.cells) if cell is not None}

    @cached_property
    def few(self) -> bool:
        """Whether there are at most ``FEW`` different numbers."""
        return len({number for number in self.distinct.values() if number is not None}) <= FEW

    @cached_property
    def numeric(self) -> bool:
        """Whether the cells are numbers, or nearly all of them: then another cell is a mistake in the column."""
        if None not in self.distinct.values():
            return bool(self.distinct)
        texts = sum(self.distinct[cell] is None for cell in self.cells if cell is not None)
        known = sum(cell is not None for cell in self.cells)
        return not self.few and 2 * texts < known

    @cached_property
    def whole(self) -> bool:
        """Whether the cells are whole numbers."""
        return bool(self.distinct) and all(n is not None and n.is_integer() for n in self.distinct.values())

    @cached_property
    def identifies(self) -> bool:
        """Whether the cells are text, and (nearly) all different: such as names, that say nothing of other rows."""
        return not self.numeric and len(self.distinct) > max(FEW, UNIQUE * int(self.present.sum()))

    @cached_property
    def present(self) -> Tensor:
        """Which cells are not missing, [N] bool."""
        return torch.tensor([cell is not None for cell in self.cells])

    def numbers(self) -> Tensor:
        """The cells as numbers, [N] float64, NaN where missing; an error names the cell that is not a number."""
        wrong = {cell for cell, number in self.distinct.items() if number is None}
        for cell, line in zip(self.cells, self.lines, strict=True):
            if cell in wrong:
                raise ConfigError(
                    f"A numeric column must hold finite numbers, but line {line} of column {self.name!r} has {cell!r}. "
                    f"Add it to `missing` if it stands for no value, or set `kinds` of {self.name!r} if it is a class."
                )
        return torch.tensor(
            [math.nan if cell is None else self.distinct[cell] for cell in self.cells], dtype=torch.float64
        )

    def classes(self) -> tuple[Tensor, list[str]]:
        """The cells as class indices, [N] int64 and -1 where missing, and the classes in ascending order.

        Where every cell is a number, ``1`` and ``1.0`` are one class.
        """
        numbers = [number for number in self.distinct.values() if number is not None]
        if len(numbers) == len(self.distinct):
            ranked = sorted(set(numbers))
            index = {cell: ranked.index(number) for cell, number in self.distinct.items() if number is not None}
            names = [f"{number:g}" for number in ranked]
        else:
            names = sorted(self.distinct)
            index = {name: i for i, name in enumerate(names)}
        return torch.tensor([-1 if cell is None else index[cell] for cell in self.cells]), names


def center_and_scale(numbers: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and deviation of the numbers that are not NaN; NaN without any, an infinite deviation if all are equal.

    >>> center_and_scale(torch.tensor([1.0, 3.0, torch.nan]))
    (tensor(2.), tensor(1.))
    """
    known = numbers[~numbers.isnan()]
    deviation = known.std(correction=0) if len(known) else numbers.new_tensor(math.nan)
    # The deviation of equal numbers is a rounding error. Dividing by it would make all other numbers enormous.
    noise = 1e-12 * known.abs().amax() if len(known) else 0.0
    return known.mean(), torch.where(deviation <= noise, torch.inf, deviation)


def number_in(cell: str) -> float | None:
    try:
        number = float(cell)
    except ValueError:
        return None
    # Python reads 1_000 as a number, but in a CSV file it is none.
    return number if math.isfinite(number) and "_" not in cell else None
