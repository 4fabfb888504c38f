"""Weightings from what people write: a name, a mapping, or the thing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from autoloss.core.errors import ConfigError
from autoloss.core.registry import registry
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.weighting import Weighting


def build_weighting(given: str | Mapping[str, Any] | Weighting) -> Weighting:
    """The weighting that ``given`` names, inside the wrappers of its ``wrap`` key, first innermost."""
    if isinstance(given, Weighting):
        return given
    parameters: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    if "name" not in parameters:
        raise ConfigError(f"A weighting must have a name, but it is {parameters}. Write {{'name': 'gradnorm', ...}}.")
    name, wrap = parameters.pop("name"), parameters.pop("wrap", None) or ()
    weighting = cast(Weighting, registry.build("weighting", name, **parameters))
    for wrapper, options in _wrappers(wrap):
        weighting = cast(Weighting, registry.build("wrapper", wrapper, weighting, **options))
    return weighting


def build_sample_weighting(given: str | Mapping[str, Any] | SampleWeighting) -> SampleWeighting:
    """The sample weighting that ``given`` names; its key ``terms`` names the losses whose samples it weighs."""
    if isinstance(given, SampleWeighting):
        return given
    parameters: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
    if "name" not in parameters:
        raise ConfigError(
            f"A sample weighting must have a name, but it is {parameters}. Write {{'name': 'self_paced', ...}}."
        )
    name, terms = parameters.pop("name"), parameters.pop("terms", None) or ()
    weighting = cast(SampleWeighting, registry.build("sample_weighting", name, **parameters))
    weighting.terms = (terms,) if isinstance(terms, str) else tuple(terms)
    return weighting


def _wrappers(wrap: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    if isinstance(wrap, str):
        return [(wrap, {})]
    if isinstance(wrap, Mapping):
        return [(name, dict(options or {})) for name, options in wrap.items()]
    return [pair for one in wrap for pair in _wrappers(one)]
