"""What is at a place in a nested configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def node_at(config: Any, place: Sequence[str]) -> Any:
    """What is at ``place`` in ``config``, the parts of a dotted key; ``None`` where there is nothing.

    >>> node_at({"weighting": {"name": "equal"}}, ["weighting", "name"])
    'equal'
    >>> node_at({"weighting": {"name": "equal"}}, ["weighting", "name", "first"])
    """
    for part in place:
        config = config.get(part) if isinstance(config, Mapping) else None
    return config
