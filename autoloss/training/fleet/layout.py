"""What is the same for all members of a fleet in a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from autoloss.core.clock import Clock
from autoloss.core.terms import Terms
from autoloss.probe.fork import Place


@dataclass(frozen=True, slots=True)
class Meeting:
    """Which losses gave a gradient to a fork, and where: the ``place`` of one member."""

    here: tuple[bool, ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Layout:
    """The losses, the time, and what was found of all members at once.

    ``declared`` are the units that the user or the problem says are not balanced. ``meeting`` is that of gradients that
    met in a fork.
    """

    terms: Terms
    clock: Clock
    whole: bool = False
    masked: tuple[bool, ...] = ()
    declared: tuple[bool, ...] = ()
    reached: tuple[bool, ...] | None = None
    items: tuple[int, ...] = ()
    templates: Mapping[str, Any] = field(default_factory=dict)
    meeting: Meeting | None = None

    @property
    def balanced(self) -> bool:
        """Whether gradients were compared and all units are known to be balanced."""
        return self.reached is not None and all(self.reached) and not any(self.declared)

    @property
    def alike(self) -> tuple[Any, ...]:
        """What is equal in calls that are alike: all but the time, and the signals, which are numbers."""
        of_losses = self.terms, self.terms.base, self.clock.unknown, self.whole, self.masked, self.declared
        meeting = self.meeting and (self.meeting.here, self.meeting.place)
        return (*of_losses, self.reached, self.items, meeting)
