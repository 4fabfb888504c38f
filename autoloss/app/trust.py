"""Limits what a loaded file may configure: the user's own command line is trusted, a file of another person is not."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.types import QuotedString, Sweep
from hydra.errors import HydraException

from autoloss.app.overrides import parse, rewritten
from autoloss.core.errors import ConfigError
from autoloss.core.registry.import_paths import import_paths as paths_among
from autoloss.core.registry.import_paths import texts_in

REFERENCES = 16  # in a loaded file
_ELSEWHERE = re.compile(r"\$\{[^}]*:")
# An environment variable, so that the processes that this one starts inherit it.
_TYPED = "AUTOLOSS_TYPED"


def remember_typed(overrides: Sequence[str]) -> None:
    """Remember the values of ``overrides``, which the user typed."""
    os.environ[_TYPED] = "\n".join(override.partition("=")[2].strip("'\"") for override in overrides)


def was_typed(target: str) -> bool:
    """Whether the user typed ``target`` as the whole value of a key, or as one value of a sweep."""
    return bool(target) and any(target in value.split(",") for value in os.environ.get(_TYPED, "").split("\n"))


def check_loaded(overrides: Sequence[str], typed: Sequence[str], file: str) -> None:
    """Raise :class:`ConfigError` if the ``overrides`` of a file do what only typed ones may do.

    A file may not import a module that is not registered (unless it was ``typed`` too), configure Hydra (which
    instantiates any class that it is given), or read environment variables.
    """
    known = set(import_paths(typed))
    many = sum(override.count("${") for override in overrides)
    if many > REFERENCES or any(override.count("${") > 2 for override in overrides):
        # Each may repeat the others: six lines could mean a text that no memory holds.
        raise ConfigError(
            f"A loaded file may refer to other keys {REFERENCES} times, twice in one value, but {file} has more "
            "references, ${...}. Write the values."
        )
    for override in overrides:
        key = override.lstrip("+~ ").partition("=")[0]
        if key.startswith(("hydra.", "hydra/", "hydra@", "-", "load", "hydra=")):
            raise ConfigError(f"A loaded file must configure a run, but {file} has {key!r}. Type it instead.")
        if _ELSEWHERE.search(override):
            raise ConfigError(f"A loaded file must hold plain values, but {file} has {override!r}. Write the value.")
        for path in import_paths([override]):
            if path not in known:
                raise ConfigError(
                    f"A loaded file must name registered components, but {file} would import {path!r}. "
                    f"If you trust it, type it too: {key.removeprefix('loss@')}={path}."
                )


def import_paths(overrides: Sequence[str]) -> list[str]:
    """The import paths in the values of ``overrides``: strings with a colon that name no registered component."""
    try:
        parsed = parse(rewritten(overrides))
    except HydraException:
        # The error is raised when they are composed.
        return []
    return paths_among(text for override in parsed for text in texts_in(override.value(), _plain))


def _plain(value: Any) -> Any:
    """What Hydra has read, as Python's lists and texts."""
    if isinstance(value, Sweep):
        return list(getattr(value, "list", ()))
    return value.text if isinstance(value, QuotedString) else value
