"""Which members' problems are alike: what the data gave a problem is its own, and a fleet asks one for all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from autoloss.core.datasets import collated, size_of
from autoloss.core.problem import Problem
from autoloss.training.fleet.training import Job

SAMPLES = 16  # of each split, that a problem is asked for to see what it reads of itself


def alike(jobs: Sequence[Job]) -> list[tuple[int, str]]:
    """For each of ``jobs`` the first whose problem is like its own, and what of its problem differs from the first's.

    A problem that keeps something of its data (a mean by which it divides) differs from one with other data, if its
    outputs or metrics read it.
    """
    found: list[tuple[int, str]] = []
    read: set[str] | None = None
    for i, job in enumerate(jobs):
        place, differs = i, ""
        for j in dict.fromkeys(j for j, _ in found):
            names = _differing(jobs[j].member.problem, job.member.problem)
            if names and read is None:
                read = _read(jobs[0])
            first, *_ = [*sorted(names & (read or set())), ""]
            differs = differs or first
            if not first:
                place, differs = j, found[j][1]
                break
        found.append((place, differs))
    return found


def _differing(one: Problem, other: Problem) -> set[str]:
    """The attributes in which two problems differ."""
    ours, theirs = vars(one), vars(other)
    both = ours.keys() & theirs.keys()
    return (ours.keys() ^ theirs.keys()) | {name for name in both if not equal(ours[name], theirs[name])}


def _read(job: Job) -> set[str]:
    """The attributes that the problem of ``job`` reads for its outputs and metrics; all if they raise an error."""
    problem = job.member.problem

    def asked() -> None:
        network = deepcopy(job.member.network)
        for split, dataset in job.data.items():
            size = size_of(dataset, "A fleet", "Write __len__.")
            outputs = problem.outputs(network.train(split == "train"), collated(dataset, range(min(SAMPLES, size))))
            if split != "train":
                problem.measure(outputs)
                problem.tally(outputs)

    try:
        with torch.random.fork_rng(devices=[]):
            return names_read(problem, asked)
    except Exception:
        # The training itself raises it.
        return set(vars(problem))


def names_read(of: Any, function: Callable[[], object]) -> set[str]:
    """The names of the attributes of ``of`` that are read while ``function`` is called."""
    kind: Any = type(of)
    names: set[str] = set()

    def noting(self: Any, name: str) -> Any:
        names.add(name)
        return kind.__getattribute__(self, name)

    of.__class__ = type(kind)(kind.__name__, (kind,), {"__getattribute__": noting, "__module__": kind.__module__})
    try:
        function()
    finally:
        of.__class__ = kind
    return names


def equal(one: Any, other: Any, seen: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Whether two values are equal, with all that they hold."""
    if one is other or (pair := (id(one), id(other))) in seen:
        return True
    if type(one) is not type(other):
        return False
    inside = seen | {pair}
    if isinstance(one, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        return bool(((one == other) | ((one != one) & (other != other))).all())
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(equal(one[key], other[key], inside) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(equal(a, b, inside) for a, b in zip(one, other, strict=True))
    parts = _inside(one), _inside(other)
    if any(parts):
        return equal(*parts, inside)
    try:
        return bool(one == other)
    except Exception:
        # An array has no truth.
        return repr(one) == repr(other) and bool((one == other).all())


def _inside(value: Any) -> dict[str, Any]:
    """What an object holds, by name."""
    if isinstance(value, (type, str, bytes, int, float)):
        return {}
    if isinstance(value, FunctionType):
        cells = {f"cell {i}": cell.cell_contents for i, cell in enumerate(value.__closure__ or ())}
        return {"code": value.__code__, "defaults": value.__defaults__, **cells}
    if isinstance(value, MethodType):
        return {"function": value.__func__, "of": value.__self__}
    found = dict(getattr(value, "__dict__", {}))
    for part in type(value).__mro__:
        names = getattr(part, "__slots__", ())
        found |= {name: getattr(value, name) for name in names if isinstance(names, tuple) and hasattr(value, name)}
    return found
