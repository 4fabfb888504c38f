"""Checks that values fit the parameters of a component, by the annotations of its ``__init__``."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from autoloss.core.errors import ConfigError, require

Unbounded = Annotated[float, "may be infinite"]  # a number whose infinity means something, as "no bound" does

# float32 can hold the square and the inverse of any number between these two.
LEAST, MOST = 1e-18, 1e18
WHOLE = 2**63  # an int64 can hold any smaller whole number
FINITE = "a finite number"
SIZE = f"0 or a number whose size lies between {LEAST:g} and {MOST:g}"
NAMES = {float: "a number", int: "a whole number", bool: "true or false", str: "text", type(None): "null"}

Fault = tuple[str, str, Any]  # the key, what its value must be, its value


def named(what: str, given: Any, example: str) -> tuple[Any, dict[str, Any]]:
    """The name and the parameters in ``given``, which is a name or a mapping with the key ``name``.

    >>> named("weighting", {"name": "gradnorm", "alpha": 1.0}, "")
    ('gradnorm', {'alpha': 1.0})
    """
    if isinstance(given, str):
        return given, {}
    if not isinstance(given, Mapping):
        raise ConfigError(f"A {what} must be a name or a mapping with a name, but it is {given!r}. Write {example}.")
    parameters = dict(given)
    if "name" not in parameters:
        raise ConfigError(f"A {what} must have a name, but it is {parameters}. Write {example}.")
    check_keys(what, parameters)
    return parameters.pop("name"), parameters


def wrappers_of(wrap: Any) -> list[tuple[str, dict[str, Any]]]:
    """The names and the parameters of wrappers in what the key ``wrap`` of a weighting may be.

    >>> wrappers_of(["ema", {"every_n": {"n": 10}}, {"name": "clamp", "low": 0.1}])
    [('ema', {}), ('every_n', {'n': 10}), ('clamp', {'low': 0.1})]
    """
    if isinstance(wrap, str):
        return [(wrap, {})]
    if isinstance(wrap, Mapping) and isinstance(wrap.get("name"), str):
        return [named("wrapper", wrap, "")]
    if isinstance(wrap, Mapping):
        for name, options in wrap.items():
            good = options is None or isinstance(options, Mapping)
            require(good, f"The parameters of wrapper {name!r} must be a mapping", f"they are {options!r}")
            check_keys(f"wrapper {name!r}", options or {})
        return [(name, dict(options or {})) for name, options in wrap.items()]
    require(isinstance(wrap, Sequence), "`wrap` must name wrappers", f"it has {wrap!r}", "Write wrap=[ema,clamp].")
    return [pair for one in wrap for pair in wrappers_of(one)]


def check_keys(what: str, parameters: Mapping[Any, Any]) -> None:
    """Raise :class:`ConfigError` unless all keys of ``parameters`` are text: in YAML a key may be a number."""
    for key in parameters:
        if not isinstance(key, str):
            raise ConfigError(f"The parameters of a {what} must have names, but one is {key!r}.")


def check_parameters(kind: str, name: str, target: Any, given: Mapping[str, Any]) -> None:
    """Raise :class:`ConfigError` if a ``given`` parameter does not fit its annotation in the class ``target``.

    A string or ``true`` for a number, NaN, or a number that float32 cannot square would otherwise fail later, with an
    error of torch, or give weights that are NaN. A parameter is not checked if it has no annotation, or one other than
    numbers, text, and lists and mappings of them: the component checks it. The default of a parameter always fits.
    """
    known = inspect.signature(target).parameters
    try:
        hints = get_type_hints(target.__init__, include_extras=True)
    except Exception:
        # A plugin may use types in annotations that it imports only under TYPE_CHECKING.
        return
    for key, value in given.items():
        if key in hints and key in known and not _same(value, known[key].default):
            for where, rule, found in faults(key, value, hints[key]):
                raise ConfigError(f"`{where}` of {kind} {name!r} must be {rule}, but it is {found!r}.")


def _same(value: Any, default: Any) -> bool:
    """Whether ``value`` is the default; here a bool does not equal a number."""
    return value is default or (type(value) is type(default) and isinstance(value, (int, float)) and value == default)


def faults(key: str, value: Any, hint: Any) -> Iterator[Fault]:
    """Yield each fault of ``value`` under ``key``: the key, what its value must be, and its value.

    Yields nothing if the annotation ``hint`` is not one that can be checked.
    """
    origin, inside = get_origin(hint), get_args(hint)
    is_class = origin is None and inspect.isclass(hint)  # to Python 3.10 list[int] is a class too
    if origin in (Union, UnionType):
        each = [list(faults(key, value, one)) for one in inside]
        if all(each):
            # For a list with one bad number, name that number; do not say that a number would do instead of a list.
            near = (SIZE, FINITE)
            deepest = max((found[0] for found in each), key=lambda fault: (len(fault[0]), fault[1] in near))
            inner = deepest[0] != key or deepest[1] in near
            yield deepest if inner else (key, " or ".join(dict.fromkeys(f[0][1] for f in each)), value)
    elif hint == Unbounded:
        if not (_number(value) and math.isinf(value)):
            yield from faults(key, value, float)
    elif origin is Mapping:
        yield from _faults_of_mapping(key, value, inside)
    elif origin is Sequence:
        if isinstance(value, str) or not isinstance(value, Sequence):
            yield key, "a list", value
        else:
            for i, one in enumerate(value):
                yield from faults(f"{key}[{i}]", one, inside[0])
    elif hint is float:
        if not _number(value):
            yield key, NAMES[float], value
        elif not math.isfinite(value):
            yield key, FINITE, value
        elif value != 0 and not LEAST <= abs(value) <= MOST:
            yield key, SIZE, value
    elif hint is int:
        if not (_number(value) and isinstance(value, numbers.Integral) and abs(int(value)) < WHOLE):
            yield key, NAMES[int], value
    elif is_class and hint in NAMES:
        if not isinstance(value, hint):
            yield key, NAMES[hint], value
    elif is_class and hint is not Any and not isinstance(value, (hint, str, Sequence, Mapping)):
        # Text may stand for a path, and a list for a tuple.
        yield key, f"a {hint.__name__}", value


def _faults_of_mapping(key: str, value: Any, inside: tuple[Any, ...]) -> Iterator[Fault]:
    if not isinstance(value, Mapping):
        yield key, "a mapping of names", value
        return
    for name, one in value.items():
        if not isinstance(name, str):
            yield key, "a mapping of names", value
        yield from faults(f"{key}.{name}", one, inside[1])


def _number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)
