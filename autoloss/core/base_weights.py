"""Base weights: factors of the weighting's weights, as numbers or as schedules over progress."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.schedules.schedule import parse_schedule, varies
from autoloss.core.tensors.constants import changing, constant


class BaseWeights:
    """The base weights of N losses. Each is the product of the factors of its loss and of the loss's group.

    ``now`` holds the present ones; ``schedules`` holds the texts of those factors that change with progress.
    ``learned`` holds further factors, by a loss's place: tensors without dimensions, which a training learns.
    """

    learned: Mapping[int, Tensor] = {}

    def __init__(self, factors: Mapping[str, float | str], losses: Sequence[tuple[str, str | None]]) -> None:
        """``losses`` are pairs of a loss's name and its group's."""
        self.given = dict(factors)
        made = {name: parse_schedule(factor) for name, factor in factors.items()}
        self.schedules = {name: str(factors[name]) for name, schedule in made.items() if varies(schedule)}
        self._of = [[made[name] for name in names if name in made] for names in losses]
        self.now = self.at(0.0)

    def at(self, progress: float) -> tuple[float, ...]:
        """The base weights at ``progress`` in [0, 1]."""
        return tuple(math.prod((schedule(progress) for schedule in of), start=1.0) for of in self._of)

    def tensor(self, values: tuple[float, ...], device: torch.device) -> Tensor:
        """Numbers that were made from the present base weights, on ``device``; never write to it."""
        if self.learned:
            return _stacked(values, device)
        return (changing if self.schedules else constant)(values, device)

    @property
    def whole(self) -> tuple[Any, ...]:
        """The present base weights times the learned factors: numbers, and tensors where a factor is learned."""
        if not self.learned:
            return self.now
        return tuple(x * self.learned[i] if i in self.learned else x for i, x in enumerate(self.now))

    def follow(self, progress: float) -> None:
        """Set the present base weights."""
        if self.schedules:
            self.now = self.at(progress)


class GivenBase(BaseWeights):
    """Base weights that are tensors without dimensions: those of one member of a fleet."""

    def __init__(self, base: Sequence[Tensor]) -> None:
        self.schedules, self.given = {}, {}
        self.now = cast(tuple[float, ...], tuple(base))

    def tensor(self, values: tuple[Any, ...], device: torch.device) -> Tensor:
        return _stacked(values, device)


def _stacked(values: tuple[Any, ...], device: torch.device) -> Tensor:
    """Numbers, and tensors without dimensions, as one tensor on ``device``, without a wait."""
    ones = [one if isinstance(one, Tensor) else torch.full((), one, device=device) for one in values]
    return torch.stack(ones).to(torch.float32)


def check_base(name: str, factor: object) -> None:
    """Raise unless ``factor`` is a number or a schedule that can multiply a loss."""
    least = factor
    if isinstance(factor, str) and "(" in factor:
        schedule = parse_schedule(factor)
        least = min(schedule(i / 100) for i in range(101))
    good = isinstance(least, (int, float)) and math.isfinite(least) and least >= 0
    require(good, "A base weight must be finite and not negative", f"base.{name}={factor}")
