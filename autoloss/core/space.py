"""Distributions that a search may draw a parameter from, declared without importing Optuna."""

from __future__ import annotations

from dataclasses import dataclass

from autoloss.core.errors import require


@dataclass(frozen=True, slots=True)
class Interval:
    """A float from ``low`` to ``high``, uniform or (``log``) uniform in its logarithm."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        require(self.low < self.high, "low < high must hold", f"low={self.low}, high={self.high}")
        require(not self.log or self.low > 0, "A log interval must be positive", f"low={self.low}")

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}" + (", log" if self.log else "")


@dataclass(frozen=True, slots=True)
class Range:
    """An integer from ``low`` to ``high``, both included."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        require(self.low <= self.high, "low <= high must hold", f"low={self.low}, high={self.high}")

    def __str__(self) -> str:
        return f"{self.low} to {self.high}" + (", log" if self.log else "")


@dataclass(frozen=True, slots=True)
class Choice:
    """One of ``options``."""

    options: tuple[str | int | float | bool | None, ...]

    def __post_init__(self) -> None:
        require(len(self.options) > 0, "A choice must have options", "there are none")

    def __str__(self) -> str:
        return " | ".join(map(str, self.options))


Distribution = Interval | Range | Choice


def contains(of: Distribution, value: object) -> bool:
    """Whether ``of`` may give ``value``.

    >>> contains(Interval(0.0, 1.0), 0.5), contains(Range(1, 8), 0.5), contains(Choice(("a", None)), None)
    (True, False, True)
    """
    if isinstance(of, Choice):
        return value in of.options
    whole = isinstance(value, int) and not isinstance(value, bool)
    good = whole if isinstance(of, Range) else whole or isinstance(value, float)
    return good and of.low <= value <= of.high  # type: ignore[operator]
