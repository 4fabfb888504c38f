"""Finds import paths among the values of a file: to load a component that is named so runs its module."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from autoloss.core.registry.kinds import KINDS
from autoloss.core.registry.lookup import registry

_PATH = re.compile(r"[^\s/()]+:[^\s/()]+")


def import_paths(texts: Iterable[str]) -> list[str]:
    """Those of ``texts`` that are import paths: with a colon, and no name of a registered component."""
    registered = {name for kind in KINDS for name in registry.names(kind)}
    return [text for text in texts if _PATH.fullmatch(text) and text not in registered]


def texts_in(value: Any, plain: Callable[[Any], Any] = lambda one: one) -> Iterator[str]:
    """All texts in nested mappings and lists, keys too: a wrapper may be a key. ``plain`` is asked for each value."""
    value = plain(value)
    if isinstance(value, Mapping):
        value = [one for pair in value.items() for one in pair]
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from texts_in(one, plain)
    elif isinstance(value, str):
        yield value
