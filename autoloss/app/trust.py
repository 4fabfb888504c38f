"""What was typed on the command line, and what came from a file of somebody else's."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.types import QuotedString, Sweep
from hydra.errors import HydraException

from autoloss.app.overrides import parse, rewritten
from autoloss.core.errors import ConfigError
from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import registry

_PATH = re.compile(r"[^\s/()]+:[^\s/()]+")
_ELSEWHERE = re.compile(r"\$\{[^}]*:")
# Inherited by processes that this one starts.
_TYPED = "AUTOLOSS_TYPED"


def trust(overrides: Sequence[str]) -> None:
    """Remember the values of ``overrides``, which somebody typed."""
    os.environ[_TYPED] = "\n".join(override.partition("=")[2].strip("'\"") for override in overrides)


def typed(target: str) -> bool:
    """Whether somebody typed ``target`` as the whole value of a key, or among those of a sweep."""
    return bool(target) and any(target in value.split(",") for value in os.environ.get(_TYPED, "").split("\n"))


def check_loaded(overrides: Sequence[str], typed: Sequence[str], file: str) -> None:
    """Raise :class:`ConfigError` where the ``overrides`` of a file say what only somebody who types may say.

    That is to import a module that is not registered (unless it was ``typed`` too), to configure Hydra, which makes
    whatever it is told to, and to read the environment.
    """
    known = set(import_paths(typed))
    for override in overrides:
        key = override.lstrip("+~ ").partition("=")[0]
        if key.startswith(("hydra.", "hydra/", "hydra@", "-", "load", "hydra=")):
            raise ConfigError(f"A loaded file must configure a run, but {file} has {key!r}. Type that, if you mean it.")
        if _ELSEWHERE.search(override):
            raise ConfigError(f"A loaded file must hold plain values, but {file} has {override!r}. Write the value.")
        for path in import_paths([override]):
            if path not in known:
                raise ConfigError(
                    f"A loaded file must name registered components, but {file} would import {path!r}. "
                    f"If you trust it, type it too: {key.removeprefix('loss@')}={path}."
                )


def import_paths(overrides: Sequence[str]) -> list[str]:
    """What the values of ``overrides`` would import: strings with a colon that name no registered component."""
    registered = {name for kind in KINDS for name in registry.names(kind)}
    try:
        parsed = parse(rewritten(overrides))
    except HydraException:
        # Composing them says what is wrong.
        return []
    found = (one for override in parsed for one in _strings(override.value()))
    return [one for one in found if _PATH.fullmatch(one) and one not in registered]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _strings(key)
            yield from _strings(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, Sweep):
        yield from _strings(list(getattr(value, "list", ())))
    elif isinstance(value, (str, QuotedString)):
        yield value if isinstance(value, str) else value.text
