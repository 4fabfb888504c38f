"""Numbers of losses that are learned, written as ``learned`` or ``learned(2.0, 0, 5)``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoloss.core.errors import ConfigError, require
from autoloss.core.space import Interval

RATE = 0.03  # that of auto_lambda
INSIDE = 0.01  # of the range: how far from a bound a number begins that starts on it, where it could not move
_WRITTEN = re.compile(r"\s*learned\s*(?:\(([^()]*)\))?\s*")
USAGE = "learned, or learned(start, low, high, rate) with numbers"


@dataclass(frozen=True, slots=True)
class LearnedNumber:
    """A number that is learned: it begins at ``start``, stays between ``low`` and ``high``, and moves at ``rate``.

    ``rate`` is the learning rate of its Adam, in the coordinate in which the number moves: the logit of its place
    between two bounds, the logarithm of its distance from one, and the number itself without any (bounds of
    -inf and inf).
    """

    start: float
    low: float = -math.inf
    high: float = math.inf
    rate: float = RATE

    def __post_init__(self) -> None:
        require(self.low < self.high, "The range of a learned number must have low < high", self._range())
        require(
            math.isfinite(self.start) and self.low <= self.start <= self.high,
            "The start of a learned number must lie in its range",
            f"it is {self.start:g} in {self._range()}",
        )
        good = 0 < self.rate < math.inf
        require(good, "The rate of a learned number must be above 0 and finite", f"it is {self.rate:g}")

    def _range(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"

    @property
    def first(self) -> float:
        """The value that training begins with: ``start``, and a little inside if that is a bound."""
        inside = INSIDE * min(self.high - self.low, 1.0)
        return min(max(self.start, self.low + inside), self.high - inside)

    @property
    def ends(self) -> tuple[float, ...]:
        """The values that it must be able to have: the first, and bounds that are finite."""
        return tuple(value for value in (self.low, self.first, self.high) if math.isfinite(value))


Learned = LearnedNumber | tuple[LearnedNumber | float, ...]


def is_learned(value: Any) -> bool:
    """Whether ``value`` is written as a learned number, or is a list with one.

    >>> is_learned("learned"), is_learned([1.0, "learned(0,-5,5)"]), is_learned("linear(0,1)")
    (True, True, False)
    """
    if isinstance(value, str):
        return bool(_WRITTEN.fullmatch(value))
    return isinstance(value, Sequence) and any(map(is_learned, value))


def parse_learned(whose: str, written: Any, default: Any, space: Any) -> Learned:
    """What ``written`` says of the number ``whose``, with its ``default`` and the ``space`` that a search draws from.

    Where no start is written it is the default, and where no range is written it is that of the search.

    >>> parse_learned("'gamma'", "learned", 2.0, Interval(0.0, 5.0)).high
    5.0
    """
    several = isinstance(default, Sequence) and not isinstance(default, str)
    if isinstance(default, bool) or (default is not None and not several and not isinstance(default, float)):
        if default != "???":
            kind = ", a whole number" if type(default) is int else ""
            raise ConfigError(f"A learned number must be a real number, but {whose} is {default!r} by default{kind}.")
    elif default is None:
        raise ConfigError(f"A learned number must have a derivative, but {whose} is none: it is a choice.")
    if isinstance(written, str):
        require(
            not several, f"{whose} must be a list", f"it is {written!r}", "Write [learned(0,-5,5),learned(0,-5,5)]."
        )
        return _one(whose, written, default if isinstance(default, float) else None, space)
    found = [_one(f"{whose}[{i}]", one, None, space) if is_learned(one) else one for i, one in enumerate(written)]
    strange = next((one for one in found if not isinstance(one, (int, float, LearnedNumber))), None)
    require(strange is None, f"{whose} must hold numbers and learned numbers", f"it holds {strange!r}")
    return tuple(found)


def values_of(learned: Learned, at: Any) -> Any:
    """``learned`` with ``at(number)`` in the place of each learned number."""
    if isinstance(learned, LearnedNumber):
        return at(learned)
    return tuple(at(one) if isinstance(one, LearnedNumber) else float(one) for one in learned)


def numbers_of(key: str, learned: Learned) -> Mapping[str, LearnedNumber]:
    """The learned numbers of the parameter ``key``, by name: ``key``, or ``key[0]`` in a list."""
    if isinstance(learned, LearnedNumber):
        return {key: learned}
    return {f"{key}[{i}]": one for i, one in enumerate(learned) if isinstance(one, LearnedNumber)}


def _one(whose: str, written: str, default: float | None, space: Any) -> LearnedNumber:
    match = _WRITTEN.fullmatch(written)
    assert match is not None
    try:
        given = [float(part) for part in match[1].split(",")] if match[1] else []
    except ValueError:
        given = [math.nan] * 5
    if len(given) > 4 or any(map(math.isnan, given)):
        raise ConfigError(f"A learned number must be written as {USAGE}, but {whose} is {written!r}.")
    start = given[0] if given else default
    require(
        start is not None,
        f"{whose} must have a start to be learned",
        f"it has none in {written!r}",
        "Write learned(0,-5,5).",
    )
    assert start is not None
    if len(given) == 2:
        raise ConfigError(f"A learned number must have a low and a high, but {whose} is {written!r}. Write {USAGE}.")
    if len(given) < 3:
        require(
            isinstance(space, Interval),
            "A learned number must have a range",
            f"none is known for {whose}",
            f"Write learned({start:g}, low, high); -inf and inf are allowed.",
        )
        return LearnedNumber(start, space.low, space.high)
    return LearnedNumber(*given)
