"""Repeats what a function of stacked weightings did, without asking Python for each operation again.

A weighting does many operations on few numbers, and ``vmap`` makes each of them several times as expensive. Where the
same function is called at each step on tensors of the same shapes, its operations are written down once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from autoloss.core.clock import Clock
from autoloss.training.fleet.operations import Operations
from autoloss.training.fleet.stacked import Stacked, settings

AFTER = 5  # calls after which operations are written down, which takes as long as some calls
COMPARED = 2  # further calls in which what is repeated is compared with what the function gives
STEADY = AFTER + COMPARED  # steps after which one costs what the later ones cost
KEPT = 32  # kinds of calls that are told apart: with more, no call is like an earlier one
TIMES = {"step": torch.int64, "epoch": torch.int64, "progress": torch.float64, "plateaus": torch.int64}


class Timed(Protocol):
    """What a function gets besides tensors: a dataclass with a time; ``alike`` is equal in calls that are alike."""

    @property
    def clock(self) -> Clock: ...

    @property
    def alike(self) -> Any: ...


class RemembersError(Exception):
    """A function that changes attributes, which later calls may read."""


class Repeated:
    """``function(weighting, numbers, layouts)`` of all weightings, called at each step.

    After :data:`AFTER` calls with tensors of the same shapes and equal layouts, its operations are repeated without the
    function. The time is a tensor among what they are computed from. Therefore a function that decides by the time
    cannot be repeated; neither can one that remembers something outside of buffers, or draws at random. These are
    called as before, and ``why`` says so. What one of ``related`` functions remembers others may read.
    """

    def __init__(self, function: Callable[..., Any], *related: Repeated) -> None:
        self.function, self.why = function, ""
        self.related = (self, *related)
        self._known: dict[Any, int | _Program] = {}

    def __call__(self, stacked: Stacked, numbers: Any, layouts: Sequence[Timed], at: Tensor | None = None) -> Any:
        """The function's result for ``numbers``, tensors nested in dicts, lists and tuples.

        Their first axis is that of the weightings, or a longer one of which the places ``at`` are those of these.
        """
        if self.why:
            return self._called(stacked, numbers, layouts, at)
        leaves: list[Tensor] = []
        inputs = stacked.buffers, stacked.numbers, numbers, at
        key = _structure(inputs, leaves), tuple(layout.alike for layout in layouts)
        known = self._known.get(key, 0)
        if isinstance(known, _Program):
            if known.compared >= COMPARED:
                return known(leaves, layouts)
        else:
            self._known[key] = known + 1
            if len(self._known) > KEPT:
                self.stop("its calls are not alike")
            if known + 1 < AFTER:
                return self._called(stacked, numbers, layouts, at)
        first, second = ([leaf.clone() for leaf in leaves] for _ in range(2))
        found = self._called(stacked, numbers, layouts, at)
        # What is drawn here must not change what is drawn later.
        with torch.random.fork_rng(devices=[]):
            try:
                program = known if isinstance(known, _Program) else self._written(first, stacked, inputs, layouts)
                again = program(second, layouts)
            except RemembersError:
                for of in self.related:
                    of.stop("it remembers something outside of its buffers")
                return found
            except Exception as error:
                # What cannot be written down raises exceptions of many kinds: it is called as before.
                self.stop(f"{type(error).__name__}: {str(error).partition(chr(10))[0]}")
                return found
        if all(map(_same, [*_tensors(again), *second], [*_tensors(found), *leaves])):
            program.compared += 1
            self._known[key] = program
        else:
            self.stop("what is repeated differs")
        return found

    @property
    def repeats(self) -> bool:
        """Whether operations are written down."""
        return any(isinstance(known, _Program) for known in self._known.values())

    def forget(self) -> None:
        """Begin anew, since there are other weightings."""
        self._known = {}

    def stop(self, why: str) -> None:
        """Call the function from now on."""
        self.why, self._known = why, {}

    def _called(self, stacked: Stacked, numbers: Any, layouts: Sequence[Timed], at: Tensor | None) -> Any:
        return stacked.call(self.function, chosen(numbers, at), shared=(layouts,))

    def _written(self, leaves: Sequence[Tensor], stacked: Stacked, inputs: Any, layouts: Sequence[Timed]) -> _Program:
        """The operations that the function makes of ``leaves``, the tensors of ``inputs``, and of the times."""
        names = [(i, name) for i in range(len(layouts)) for name in TIMES]
        times = [_time(layouts[i], name) for i, name in names]
        part, own, time = copy(stacked), iter(leaves), iter(times)
        part.buffers, part.numbers, numbers, at = _filled(inputs, own)
        timed: list[Any] = []
        for layout in layouts:
            now: dict[str, Any] = {name: next(time) for name in TIMES}
            timed.append(replace(layout, clock=replace(layout.clock, **now)))  # type: ignore[type-var]
        first, operations = stacked.modules[0], Operations([*leaves, *times])
        with as_before(first):
            before = list(settings(first))
            with operations:
                gives = self._called(part, numbers, timed, at)
            if before != list(settings(first)):
                raise RemembersError
        run, used = operations.program(_tensors(gives))
        kept = [name if of else None for name, of in zip(names, used[len(leaves) :], strict=True)]
        return _Program(run, gives, kept)


@dataclass(slots=True)
class _Program:
    """Operations, what they give (with any tensors), the times that they use, and in how many calls they agreed."""

    run: Callable[..., Sequence[Tensor]]
    gives: Any
    times: Sequence[tuple[int, str] | None]
    compared: int = 0

    def __call__(self, leaves: Sequence[Tensor], layouts: Sequence[Timed]) -> Any:
        times = (None if time is None else _time(layouts[time[0]], time[1]) for time in self.times)
        return _filled(self.gives, iter(self.run(*leaves, *times)))


@contextmanager
def as_before(module: nn.Module) -> Iterator[None]:
    """On leaving it the parts of ``module`` have the attributes that they had: what came of tensors is not kept."""
    before = [(part, dict(vars(part))) for part in module.modules()]
    try:
        yield
    finally:
        for part, attributes in before:
            vars(part).clear()
            vars(part).update(attributes)


def chosen(numbers: Any, at: Tensor | None) -> Any:
    """The members ``at`` these places of ``numbers``, tensors nested in dicts, lists and tuples; all for ``None``."""
    return numbers if at is None else pytree.tree_map(lambda tensor: tensor[at], numbers)


def _time(layout: Timed, name: str) -> Tensor:
    return torch.tensor(getattr(layout.clock, name), dtype=TIMES[name])


def _structure(value: Any, leaves: list[Tensor]) -> Any:
    """What can be compared of ``value``; its tensors are added to ``leaves``."""
    if isinstance(value, Tensor):
        leaves.append(value)
        return value.shape, value.stride(), value.dtype, value.device
    if isinstance(value, Mapping):
        return tuple((name, _structure(part, leaves)) for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return (len(value), *(_structure(part, leaves) for part in value))
    return value


def _tensors(value: Any) -> list[Tensor]:
    leaves: list[Tensor] = []
    _structure(value, leaves)
    return leaves


def _filled(value: Any, leaves: Iterator[Tensor]) -> Any:
    """``value`` with ``leaves`` in the places of its tensors."""
    if isinstance(value, Tensor):
        return next(leaves)
    if isinstance(value, Mapping):
        return {name: _filled(part, leaves) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_filled(part, leaves) for part in value)
    return value


def _same(found: Tensor, expected: Tensor) -> bool:
    alike = (found.dtype, found.shape) == (expected.dtype, expected.shape)
    return alike and bool(((found == expected) | (found.isnan() & expected.isnan())).all())
