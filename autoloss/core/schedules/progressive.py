"""Components whose parameters may be schedules, and how they are built from a configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from autoloss.core.component import Component
from autoloss.core.errors import ConfigError
from autoloss.core.registry.defaults import defaults
from autoloss.core.registry.lookup import registry
from autoloss.core.registry.parameters import named
from autoloss.core.schedules.learned_numbers import Learned, is_learned, numbers_of, parse_learned, values_of
from autoloss.core.schedules.schedule import parse_schedule

Value = Callable[[float], Any]


class Progressive(Component, nn.Module):
    """A component whose numbers, also those in a list, may be functions of progress from 0 to 1, or be learned.

    Each parameter is an attribute of the same name, which ``forward`` reads. :meth:`follow` sets those that
    are in ``schedules``. They depend on progress alone, so a resumed training needs no state of them. Those that are
    ``learned`` have their first value until training sets them: to tensors of one number, in float64.
    """

    def __init__(self) -> None:
        super().__init__()
        self.schedules: dict[str, Value] = {}
        self.learned: dict[str, Learned] = {}

    def follow(self, progress: float) -> None:
        """Set every parameter that has a schedule, of this component and its parts, to its value at ``progress``.

        >>> loss = build("loss", {"name": "focal", "gamma": "linear(0,2)"})
        >>> loss.follow(0.25)
        >>> loss.gamma
        0.5
        """
        for part in self.modules():
            if isinstance(part, Progressive):
                for name, value in part.schedules.items():
                    setattr(part, name, value(progress))


def build(kind: str, given: Any) -> Any:
    """The loss or penalty that ``given`` describes: a name, ``{"name": ..., parameters}``, or the component itself.

    A list of losses gives their average. A number, also one in a list, may be written as a schedule, ``linear(0,2)``,
    and that of a loss as ``learned`` (:class:`LearnedNumber`). The component is built with the schedule's first, last,
    smallest and largest value, and with the bounds of what is learned, so that a value that is not allowed is an error
    now and not during training.
    """
    if isinstance(given, Progressive):
        return given
    if isinstance(given, Sequence) and not isinstance(given, str):
        given = {"name": "combined", "losses": given}
    if isinstance(given, Mapping) and len(given) == 1 and isinstance(next(iter(given.values())), Mapping):
        ((name, inside),) = given.items()  # {focal: {gamma: 2}}, as weighting.wrap has it
        given = {"name": name, **inside}
    name, parameters = named(kind, given, "{'name': ..., ...}")
    known = defaults(registry.find(kind, name))
    learned = _learned(kind, name, parameters, known)
    parameters |= {key: values_of(one, lambda number: number.first) for key, one in learned.items()}
    schedules = {
        key: _values(key, value, known.get(key))
        for key, value in parameters.items()
        if not isinstance(known.get(key), str) and _is_schedule(value)
    }
    for progress in _extremes(schedules):
        _try(kind, name, {**parameters, **{key: at(progress) for key, at in schedules.items()}})
    first = {**parameters, **{key: at(0.0) for key, at in schedules.items()}}
    for key, one in learned.items():
        ends = {i: number.ends for i, number in enumerate(numbers_of(key, one).values())}
        for end in range(max(map(len, ends.values()))):
            _try(
                kind, name, {**first, key: values_of(one, lambda number, end=end: number.ends[end % len(number.ends)])}
            )
    made = registry.build(kind, name, **first)
    for key in {**schedules, **learned}:
        if key not in vars(made):
            raise ConfigError(
                f"A parameter with a schedule must be an attribute that forward() reads, but {kind} {name!r} has no "
                f"attribute {key!r}. Give {key!r} a number."
            )
    if schedules:
        made.schedules = schedules
    if learned:
        made.learned = learned
    return made


def _try(kind: str, name: str, parameters: Mapping[str, Any]) -> None:
    with torch.random.fork_rng(devices=[]):
        registry.build(kind, name, **parameters)


def _learned(kind: str, name: str, parameters: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Learned]:
    written = {key: value for key, value in parameters.items() if key in known and is_learned(value)}
    if not written:
        return {}
    if kind != "loss":
        raise ConfigError(
            f"A number must belong to a loss to be learned, but {next(iter(written))!r} belongs to {kind} {name!r}. "
            "Give it a number or a schedule."
        )
    component = registry.load(kind, name)
    if fixed := [key for key in written if key in getattr(component, "unlearnable", ())]:
        raise ConfigError(
            f"The gradient of a loss must change with a number to learn it, but that of {name!r} does not change with "
            f"{fixed[0]!r}, or only where the loss bends. Give it a number or a schedule, or search it."
        )
    space = getattr(component, "search_space", {})
    return {
        key: parse_learned(f"{key!r} of {kind} {name!r}", value, known[key], space.get(key))
        for key, value in written.items()
    }


def _is_schedule(value: Any) -> bool:
    if isinstance(value, str):
        return bool(re.fullmatch(r"\s*\w+\s*\([^()]*\)\s*", value))
    return isinstance(value, Sequence) and any(map(_is_schedule, value))


def _values(key: str, written: Any, default: Any) -> Value:
    if isinstance(default, bool):
        raise ConfigError(f"A schedule needs a number, but {key!r} is true or false. Write {key}=true.")
    if not isinstance(written, str):
        each = [parse_schedule(one) for one in written]
        return lambda progress: tuple(one(progress) for one in each)
    schedule = parse_schedule(written)
    return (lambda progress: round(schedule(progress))) if isinstance(default, int) else schedule


def _extremes(schedules: Mapping[str, Value]) -> list[float]:
    """The progress at the ends, and where a schedule is smallest or largest."""
    points = [i / 100 for i in range(101)]
    found = {0.0, 1.0} if schedules else set()
    for at in schedules.values():
        found |= {min(points, key=at), max(points, key=at)}
    return sorted(found)
