"""The mistakes of the page that all plugins share, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable

from autoloss.core.registry.lookup import registry
from tests.plugins.mistakes.making import asked

MISTAKES: list[Callable[[], object]] = [
    asked("problem=my_two_curves", "weighting=my_unit_nrom"),
    lambda: registry.load("loss", "my_broken"),
    lambda: registry.load("weighting", "my_misplaced"),
    lambda: registry.load("loss", "my_twin"),
    asked("problem=my_two_curves", "losses.sine=my_needy"),
]
