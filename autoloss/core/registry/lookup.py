"""Finds components by name without importing them, and loads them when they are used."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from autoloss.core.errors import AutolossError, ConfigError, PluginError, unknown
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.parameters import check_parameters

PACKAGE = Path(__file__).resolve().parents[2]
ORIGIN = "autoloss"


@dataclass(frozen=True, slots=True)
class Listing:
    """A registered component: its name, the distribution that contains it, and the import path of its class."""

    kind: str
    name: str
    origin: str
    version: str
    target: str
    clash: bool = False

    @property
    def spelling(self) -> str:
        """The name that finds this component: ``distribution:name`` if two components share the plain name."""
        return f"{self.origin}:{self.name}" if self.clash else self.name


class Registry:
    """Finds built-ins by file name, plugins by entry point, and any other class by ``module:Name``."""

    @cached_property
    def listings(self) -> dict[str, list[Listing]]:
        """All registered components by kind; no component is imported."""
        points = None if os.environ.get("AUTOLOSS_DISABLE_PLUGINS") else entry_points()  # reads every distribution
        return {kind: _listings(kind, points) for kind in KINDS}

    def names(self, kind: str) -> list[str]:
        """The spellings under which components of ``kind`` are found."""
        return [listing.spelling for listing in self.listings[kind]]

    def find(self, kind: str, name: str) -> Listing:
        """The listing of ``name``, which is one of :meth:`names` or an import path ``module:Name``."""
        if not isinstance(name, str):
            raise ConfigError(f"The name of a {kind} must be text, but it is {name!r}.")
        for listing in self.listings[kind]:
            if listing.spelling == name:
                return listing
        clashing = [listing.spelling for listing in self.listings[kind] if listing.name == name]
        if clashing:
            raise PluginError(
                f"The name of a {kind} must be unique, but {name!r} is not. Write {' or '.join(clashing)}."
            )
        if ":" in name:
            return Listing(kind, name, "import path", "", name)
        raise unknown(kind, name, self.names(kind))

    def load(self, kind: str, name: str) -> Any:
        """The class that ``name`` stands for; for a loss it may be a function.

        Raises :class:`UnknownNameError` for an unknown name. If the import fails it raises :class:`PluginError`, which
        names the distribution, its version and the error.
        """
        listing = self.find(kind, name)
        try:
            target = imported(listing.target)
        except AutolossError:
            raise
        except (Exception, SystemExit) as error:
            component = f"{kind} {listing.spelling!r}"
            if listing.version:
                component += f" of {listing.origin} {listing.version}"
            raise PluginError(
                f"The {component} must load from {listing.target!r}, but that raised {type(error).__name__}: {error}."
            ) from error
        _check(kind, listing, target)
        if inspect.isclass(target) and "registered_name" not in vars(target):
            target.registered_name = listing.name.rpartition(":")[2]  # type: ignore[attr-defined]
        return target

    def build(self, kind: str, name: str, /, *args: Any, **parameters: Any) -> Any:
        """An instance of the component ``name``; an unknown parameter is an error that lists the known ones."""
        target = self.load(kind, name)
        if not inspect.isclass(target):
            if parameters:
                raise ConfigError(f"A loss function takes no parameters, but {name!r} was given {sorted(parameters)}.")
            return imported("autoloss.core.loss:FunctionLoss")(target)
        # A class without an __init__ inherits that of nn.Module: its signature accepts anything, the call fails later.
        no_parameters = not any(
            "__init__" in vars(c)
            for c in target.__mro__
            if c.__module__.partition(".")[0] != "torch" and c is not object
        )
        known = {} if no_parameters else inspect.signature(target).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in known.values()):
            free = list(known)[len(args) :]
            for key in parameters:
                if key not in free:
                    raise unknown(f"parameter of {kind} {name!r}", str(key), free)
        given = {*list(known)[: len(args)], *parameters}
        for key, parameter in known.items():
            if (
                parameter.default is parameter.empty
                and parameter.kind is not parameter.VAR_KEYWORD
                and key not in given
            ):
                raise ConfigError(f"The {kind} {name!r} must be given {key!r}, but it is not.")
        if not no_parameters:
            check_parameters(kind, name, target, parameters)
        return target(*args, **parameters)


def _listings(kind: str, all_points: Any) -> list[Listing]:
    folder = PACKAGE / KINDS[kind].folder
    module = f"autoloss.{KINDS[kind].folder.replace('/', '.')}"
    found = [
        Listing(kind, path.stem, ORIGIN, "", f"{module}.{path.stem}")
        for path in sorted(folder.glob("*.py"))
        if not path.stem.startswith("_")
    ]
    built_in = {listing.name for listing in found}
    points = [] if all_points is None else _entry_points(all_points.select(group=KINDS[kind].group))
    names = [name for name, _, _, _ in points]
    for name, origin, version, target in points:
        found.append(Listing(kind, name, origin, version, target, name in built_in or names.count(name) > 1))
    return found


def _entry_points(points: Iterable[EntryPoint]) -> list[tuple[str, str, str, str]]:
    unique: dict[tuple[str, str], EntryPoint] = {}
    for point in points:
        unique.setdefault((point.name, point.dist.name if point.dist else "?"), point)
    return sorted(
        (point.name, origin, point.dist.version if point.dist else "?", point.value)
        for (_, origin), point in unique.items()
    )


def imported(target: str) -> Any:
    """The object at ``module:Name``; without a name, the class that the built-in ``module`` is named after."""
    module_name, _, attribute = target.partition(":")
    if ":" in target and not _is_found(module_name.partition(".")[0]) and os.getcwd() not in sys.path:
        # Last: a file here must not stand for an installed module. A file that is read may name only what was typed.
        sys.path.append(os.getcwd())
    module = importlib.import_module(module_name)
    if attribute:
        found: Any = module
        for part in attribute.split("."):
            found = getattr(found, part)
        return found
    return getattr(module, class_name(module_name.rpartition(".")[2]))


def _is_found(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None


def class_name(name: str) -> str:
    """The name of the class in the file of a built-in.

    >>> class_name("smooth_l1")
    'SmoothL1'
    """
    return "".join(word.capitalize() for word in name.split("_"))


def _check(kind: str, listing: Listing, target: Any) -> None:
    base = imported(KINDS[kind].base)
    if inspect.isclass(target) and issubclass(target, base):
        return
    if kind == "loss" and callable(target) and not inspect.isclass(target):
        return
    raise PluginError(
        f"A {kind} must be a subclass of {KINDS[kind].base.replace(':', '.')}, but {listing.spelling!r} "
        f"({listing.target}) is {target!r}."
    )


registry = Registry()
