"""What is the same for all members of a fleet in a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoloss.core.clock import Clock
from autoloss.core.terms import Terms


@dataclass(frozen=True, slots=True)
class Layout:
    """The losses, the time, and what was found of all members at once."""

    terms: Terms
    clock: Clock
    whole: bool = False
    masked: tuple[bool, ...] = ()
    declared: bool = False
    reached: tuple[bool, ...] | None = None
    items: tuple[int, ...] = ()
    templates: Mapping[str, Any] = field(default_factory=dict)

    @property
    def balanced(self) -> bool:
        """Whether gradients were compared and all units are known to be balanced."""
        return self.reached is not None and all(self.reached) and not self.declared
