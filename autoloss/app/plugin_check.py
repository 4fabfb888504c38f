"""Checks what a component declares: that its constructor takes its own defaults, and what a search may draw."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

import torch

from autoloss.app.config_source import plain_defaults
from autoloss.core.errors import AutolossError, PluginError, first_line
from autoloss.core.registry.defaults import REQUIRED
from autoloss.core.registry.lookup import Listing, registry
from autoloss.core.registry.parameters import faults
from autoloss.core.space import Choice, Distribution, Interval, Range
from autoloss.training.step.build import build

BUILT = ("loss", "penalty", "weighting", "wrapper", "sample_weighting")  # without data


def check_component(listing: Listing) -> None:
    """Load the component of ``listing``; raises an :class:`AutolossError` if it or what it declares cannot be used."""
    target = registry.load(listing.kind, listing.spelling)
    if not inspect.isclass(target):
        return
    given = plain_defaults(listing)
    if listing.kind == "wrapper":
        given.pop("inner", None)
    _check_defaults(listing, target, given)
    space = _space(listing, target, given)
    if listing.kind not in BUILT or REQUIRED in given.values():
        return
    _build(listing, {}, "its own defaults")
    for key, distribution in space.items():
        for end in _ends(distribution):
            _build(listing, {key: end}, f"{key}={end} of its `search_space`")


def _check_defaults(listing: Listing, target: Any, given: Mapping[str, Any]) -> None:
    try:
        hints = get_type_hints(target.__init__, include_extras=True)
    except Exception:
        return  # types that are imported only under TYPE_CHECKING
    for key, value in given.items():
        if key in hints and value is not None and value != REQUIRED:
            for where, rule, found in faults(key, value, hints[key]):
                raise PluginError(f"The default `{where}` of {_name(listing)} must be {rule}, but it is {found!r}.")


def _space(listing: Listing, target: Any, given: Mapping[str, Any]) -> Mapping[str, Distribution]:
    space = getattr(target, "search_space", {})
    for key, distribution in dict(space).items():
        if key not in given:
            raise PluginError(
                f"`search_space` of {_name(listing)} must name its parameters ({', '.join(given) or 'none'}), but it "
                f"has {key!r}."
            )
        if not isinstance(distribution, Interval | Range | Choice):
            raise PluginError(
                f"`search_space` of {_name(listing)} must hold an Interval, a Range or a Choice for each parameter, "
                f"but for {key!r} it has {distribution!r}."
            )
    return dict(space)


def _build(listing: Listing, parameters: Mapping[str, Any], what: str) -> None:
    inner = (build("weighting", "equal"),) if listing.kind == "wrapper" else ()
    try:
        with torch.random.fork_rng(devices=[]):
            registry.build(listing.kind, listing.spelling, *inner, **parameters)
    except PluginError:
        return  # a library that it needs is not installed: what it declares cannot be tried here
    except Exception as error:
        said = str(error) if isinstance(error, AutolossError) else first_line(error)
        raise PluginError(f"The constructor of {_name(listing)} must take {what}, but it says: {said}") from error


def _ends(distribution: Distribution) -> Iterator[Any]:
    yield from distribution.options if isinstance(distribution, Choice) else (distribution.low, distribution.high)


def _name(listing: Listing) -> str:
    return f"{listing.kind} {listing.spelling!r}"
