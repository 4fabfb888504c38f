"""Pacing functions: the share c of the data, easiest first, that is trained on at a progress t, from ``start`` to 1."""

from __future__ import annotations

import math
from collections.abc import Callable

from autoloss.core.errors import require
from autoloss.core.schedules.schedule import Schedule, parse_schedule


def linear(start: float, end: float = 1.0) -> Schedule:
    """``c = min(1, start + (1 - start) t / end)`` (Platanios et al., NAACL 2019, eq. 6)."""
    return root(start, end, 1.0)


def root(start: float, end: float = 1.0, p: float = 2.0) -> Schedule:
    """``c = min(1, (start^p + (1 - start^p) t / end)^(1/p))`` (Platanios et al., NAACL 2019, eq. 7 and 8)."""
    require(p > 0, "`p` must be above 0", f"p={p}")
    _check(start, end)
    return lambda t: 1.0 if t >= end else (start**p + (1 - start**p) * t / end) ** (1 / p)


def geometric(start: float, end: float = 1.0) -> Schedule:
    """``c = start^(1 - t / end)``; ``start`` above 0."""
    _check(start, end, above=True)
    return lambda t: 1.0 if t >= end else start ** (1 - t / end)


def exponential(start: float, factor: float = 1.9, every: float = 0.1) -> Schedule:
    """``c = min(1, start factor^floor(t / every))`` (Hacohen, Weinshall, ICML 2019, eq. 3); ``start`` above 0."""
    _check(start, every, above=True)
    require(factor > 1, "`factor` must be above 1", f"factor={factor}")
    # 1e-9: at the end of a step, rounding of t must not give the value before it.
    return lambda t: math.exp(min(0.0, math.log(start) + math.floor(t / every + 1e-9) * math.log(factor)))


def step(start: float, increase: float = 0.2, every: float = 0.1) -> Schedule:
    """``c = min(1, start + increase floor(t / every))`` (baby steps: Bengio et al., ICML 2009)."""
    _check(start, every)
    require(increase > 0, "`increase` must be above 0", f"increase={increase}")
    return lambda t: min(1.0, start + increase * math.floor(t / every + 1e-9))


def logarithmic(start: float, end: float = 1.0) -> Schedule:
    """``c = min(1, start + (1 - start) (1 + 0.1 log(t / end + e^-10)))`` (Wu, Dyer, Neyshabur, ICLR 2021, table 2)."""
    _check(start, end)
    return lambda t: 1.0 if t >= end else start + (1 - start) * (1 + 0.1 * math.log(t / end + math.exp(-10)))


PACINGS: dict[str, Callable[..., Schedule]] = {
    f.__name__: f for f in (linear, root, geometric, exponential, step, logarithmic)
}


def parse_pacing(text: str | float) -> Schedule:
    """The pacing function that ``text`` describes: ``name(start, ...)``, or a number, a constant share.

    >>> parse_pacing("root(0, 0.5)")(0.25)
    0.7071067811865476
    """
    pacing = parse_schedule(text, PACINGS, "pacing function")
    shares = [pacing(i / 100) for i in range(101)]
    require(min(shares) >= 0 and max(shares) <= 1, "A pacing function must lie in [0, 1]", f"{text!r} does not")
    return pacing


def _check(start: float, end: float, above: bool = False) -> None:
    least = "(0, 1]" if above else "[0, 1]"
    require(0 <= start <= 1 and (start > 0 or not above), f"`start` must lie in {least}", f"start={start}")
    require(end > 0, "A pacing function must take longer than 0", f"it takes {end}")
