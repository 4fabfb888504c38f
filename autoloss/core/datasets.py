"""Datasets whose size must be known."""

from __future__ import annotations

from typing import Any

from autoloss.core.errors import ConfigError


def size_of(dataset: Any, who: str, remedy: str) -> int:
    """How many samples ``dataset`` has; :class:`ConfigError` for a stream, which does not know it.

    ``who`` needs the number, and ``remedy`` says what to do about a stream.
    """
    try:
        return len(dataset)
    except TypeError:
        raise ConfigError(
            f"{who} needs data with a length and an order, but {type(dataset).__name__} is a stream. {remedy}"
        ) from None
