"""Bounds of losses and metrics, and what a user writes of them."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from autoloss.core.errors import ConfigError, check_known, require, unknown
from autoloss.core.terms import Terms

STEP_RATE, VALIDATION_RATE = 0.05, 0.1
DAMPING, LIMIT = 0.5, 1000.0
LEAST = 1e-6  # the smallest multiplier of a loss that is no goal: from 0 it could not grow
KEYS = ("max", "min", "loss", "goal", "rate", "damping", "start", "limit")


@dataclass(frozen=True, slots=True)
class Constraint:
    """One bound: the loss or metric ``of`` stays at most at ``bound``, or at least if it is ``lower``.

    The multiplier acts on the weight of ``loss``. ``measured`` says that ``of`` is a metric, known at validations
    alone. With ``goal`` that loss stays a goal too: the multiplier is added to its own weight, else it takes its place.
    ``rate``, ``damping``, ``start`` and ``limit`` are those of the multiplier.
    """

    of: str
    bound: float
    lower: bool
    loss: str
    measured: bool
    goal: bool
    rate: float
    damping: float
    start: float
    limit: float

    @property
    def name(self) -> str:
        """``kl.max``, as it is written."""
        return f"{self.of}.{'min' if self.lower else 'max'}"

    @property
    def text(self) -> str:
        """``kl <= 0.1``."""
        return f"{self.of} {'>=' if self.lower else '<='} {self.bound:g}"

    @property
    def unit(self) -> float:
        """What a violation is measured in: the size of the bound, or 1 for a bound of 0."""
        return abs(self.bound) or 1.0

    @property
    def falls(self) -> bool:
        """Whether a violation lowers the loss's weight: a loss that is too small is to grow."""
        return self.lower and self.loss == self.of


def constraints_of(given: Mapping[str, Any], terms: Terms, metrics: Collection[str] | None = None) -> list[Constraint]:
    """The bounds that ``given`` says, ``{"kl": {"max": 0.1}}``, by the name of a loss of ``terms`` or of a metric.

    ``metrics`` are the names of what is measured at validations, ``None`` if nobody knows them yet. Raises
    :class:`ConfigError` or :class:`UnknownNameError`.
    """
    losses = terms.names
    found = [one for of, node in given.items() if node is not None for one in _read(of, node, losses, metrics)]
    base = [max(ends) for ends in zip(terms.base_at(0.0), terms.base_at(1.0), strict=True)]
    for one in found:
        rule = f"constraints.{one.name} needs a loss with a base weight, which its multiplier is a factor of"
        have = base[losses.index(one.loss)] > 0
        require(have, rule, f"that of {one.loss} is 0", f"Set base.{one.loss} above 0.")
    for loss in dict.fromkeys(one.loss for one in found):
        goals = {one.goal for one in found if one.loss == loss}
        require(
            len(goals) == 1,
            f"The constraints that act on {loss!r} must agree on `goal`",
            "one says true and another false",
            "Set it in each.",
        )
    return found


def _read(of: str, node: Any, losses: Sequence[str], metrics: Collection[str] | None) -> list[Constraint]:
    key = f"constraints.{of}"
    if not isinstance(node, Mapping):
        raise ConfigError(f"A constraint must say max or min, but {key} is {node!r}. Write {key}.max=0.1.")
    check_known(f"key of {key}", map(str, node), KEYS)
    numbers = {k: _number(f"{key}.{k}", v) for k, v in node.items() if k not in ("loss", "goal") and v is not None}
    bounds = [k for k in ("min", "max") if k in numbers]
    require(bool(bounds), "A constraint must have a max or a min", f"{key} has none", f"Write {key}.max=0.1.")
    if len(bounds) == 2:
        low, high = numbers["min"], numbers["max"]
        require(low < high, f"{key}.min must lie below {key}.max", f"they are {low:g} and {high:g}")
    measured = of not in losses
    if measured and metrics is not None and of not in metrics:
        raise unknown("loss or metric", of, [*losses, *metrics])
    loss = node.get("loss", None if measured else of)
    if loss is None:
        raise ConfigError(
            f"A metric has no gradient, so its multiplier must act on a loss, but {key}.loss names none. "
            f"Write {key}.loss={losses[0]}. The losses are {', '.join(losses)}."
        )
    check_known("loss", [loss], losses)
    rule = f"The multiplier of a loss's bound acts on that loss; {key}.loss is for metrics"
    require(measured or loss == of, rule, f"it is {loss!r}", "Leave it out.")
    goal = node.get("goal", True)
    require(isinstance(goal, bool), f"{key}.goal must be true or false", f"it is {goal!r}")
    falls = not measured and loss == of and "min" in numbers
    require(goal or not falls, f"{key}.goal=false needs a loss that is to fall", "it has a min", "Leave `goal` out.")
    rate = numbers.get("rate", VALIDATION_RATE if measured else STEP_RATE)
    damping, limit = numbers.get("damping", DAMPING), numbers.get("limit", LIMIT)
    start = numbers.get("start", 0.0 if goal else 1.0)
    require(rate > 0, f"{key}.rate must be above 0", f"it is {rate:g}")
    require(damping >= 0, f"{key}.damping must be at least 0", f"it is {damping:g}")
    least = 0.0 if goal else LEAST
    require(limit > least, f"{key}.limit must be above {least:g}", f"it is {limit:g}")
    good = least <= start <= limit
    require(good, f"{key}.start must lie between {least:g} and the limit, {limit:g}", f"it is {start:g}")
    return [Constraint(of, numbers[k], k == "min", loss, measured, goal, rate, damping, start, limit) for k in bounds]


def _number(key: str, value: Any) -> float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    require(good, f"{key} must be a finite number", f"it is {value!r}")
    return float(value)
