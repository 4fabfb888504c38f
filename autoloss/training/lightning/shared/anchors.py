"""Where a run compares gradients."""

from __future__ import annotations

from autoloss.core.errors import require

ANCHORS = ("features", "fork", "parameters")


def check_anchor(anchor: str) -> None:
    """Raise :class:`ConfigError` unless ``anchor`` is one of :data:`ANCHORS`."""
    require(anchor in ANCHORS, f"anchor must be one of {', '.join(ANCHORS)}", f"it is {anchor!r}")
