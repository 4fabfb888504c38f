"""Schedules: numbers that depend on training's progress, written as ``linear(0,1)``."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping

from autoloss.core.errors import ConfigError, require, unknown

Schedule = Callable[[float], float]
EXAMPLE = "Write linear(0,1)."


def _between(start: float, end: float, progress: float) -> float:
    return min(1.0, max(0.0, (progress - start) / (end - start))) if end > start else float(progress >= end)


def constant(value: float) -> Schedule:
    """``value`` throughout."""
    return lambda progress: value


def linear(first: float, last: float, start: float = 0.0, end: float = 1.0) -> Schedule:
    """A straight line from ``first`` at ``start`` to ``last`` at ``end``."""
    return lambda progress: first + (last - first) * _between(start, end, progress)


def cosine(first: float, last: float, start: float = 0.0, end: float = 1.0) -> Schedule:
    """Half a cosine from ``first`` at ``start`` to ``last`` at ``end``."""
    return lambda progress: last + (first - last) * 0.5 * (1 + math.cos(math.pi * _between(start, end, progress)))


def step(first: float, last: float, at: float = 0.5) -> Schedule:
    """``first`` before ``at``, ``last`` from there on."""
    return lambda progress: first if progress < at else last


def cyclical(low: float, high: float, cycles: float = 4, rise: float = 0.5) -> Schedule:
    """``cycles`` times: a line from ``low`` to ``high`` in the first share ``rise`` of the cycle, then ``high``.

    The last cycle of a whole number of them ends at 1 and stays at ``high``; no other one begins.
    """
    require(cycles > 0 and 0 < rise <= 1, "cycles > 0 and 0 < rise <= 1 must hold", f"cycles={cycles}, rise={rise}")

    def at(progress: float) -> float:
        over = progress >= 1 and cycles == int(cycles)
        return low + (high - low) * min(1.0, (1.0 if over else math.fmod(progress * cycles, 1.0)) / rise)

    return at


def warmup(value: float, until: float = 0.1) -> Schedule:
    """A straight line from 0 to ``value`` at ``until``, then ``value``."""
    return linear(0.0, value, 0.0, until)


def rampup(value: float, until: float = 1.0) -> Schedule:
    """``value * exp(-5 (1 - t)^2)`` with t from 0 to 1 at ``until``, then ``value`` (mean teacher's ramp-up)."""
    return lambda progress: value * math.exp(-5 * (1 - _between(0.0, until, progress)) ** 2)


def points(first: float, *others: float) -> Schedule:
    """Straight lines through numbers at equal distances of progress, the first at 0 and the last at 1."""
    values = (first, *others)

    def at(progress: float) -> float:
        place = min(max(progress, 0.0), 1.0) * len(others)
        before = min(int(place), max(len(others) - 1, 0))
        after = values[min(before + 1, len(others))]
        return values[before] + (after - values[before]) * (place - before)

    return at


SCHEDULES: dict[str, Callable[..., Schedule]] = {
    f.__name__: f for f in (constant, linear, cosine, step, cyclical, warmup, rampup, points)
}


def varies(schedule: Schedule) -> bool:
    """Whether a schedule of progress ever changes.

    >>> varies(linear(0, 1)), varies(constant(0.5))
    (True, False)
    """
    return len({schedule(i / 100) for i in range(101)}) > 1


def parse_schedule(
    text: str | float, named: Mapping[str, Callable[..., Schedule]] = SCHEDULES, what: str = "schedule"
) -> Schedule:
    """The schedule that ``text`` describes: a number, or ``name(number, ...)`` with a name from ``named``.

    >>> parse_schedule("linear(0, 2)")(0.25)
    0.5
    """
    if isinstance(text, (int, float)) and not isinstance(text, bool):
        return _finite(constant(float(text)), str(text))
    match = re.fullmatch(r"\s*(\w+)\s*\(([^()]*)\)\s*", text) if isinstance(text, str) else None
    if not match or not isinstance(text, str):
        raise ConfigError(f"A schedule must be a number or name(numbers), but it is {text!r}. {EXAMPLE}")
    name, inside = match.groups()
    if name not in named:
        raise unknown(what, name, named)
    try:
        return _finite(named[name](*(float(part) for part in inside.split(","))), text)
    except (TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        usage = _usage(name, named[name])
        raise ConfigError(f"A {what} must be written as {usage}, with numbers, but it is {text!r}.") from error


def _usage(name: str, function: Callable[..., Schedule]) -> str:
    parameters = inspect.signature(function).parameters.values()
    required = ", ".join(p.name for p in parameters if p.default is p.empty)
    optional = "".join(f"[, {p.name}" for p in parameters if p.default is not p.empty)
    return f"{name}({required}{optional}{']' * optional.count('[')})"


def _finite(schedule: Schedule, text: str) -> Schedule:
    good = all(math.isfinite(schedule(progress)) for progress in (0.0, 0.5, 1.0))
    require(good, "A schedule must give finite numbers", f"{text!r} does not")
    return schedule
