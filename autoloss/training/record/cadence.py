"""Which steps of a long training are recorded."""

from __future__ import annotations

from dataclasses import dataclass

from autoloss.core.errors import require
from autoloss.core.tensors.ranks import world_size

DENSE = 1000


@dataclass(frozen=True, slots=True)
class Cadence:
    """Every ``every``-th step, and ever fewer of them in a long training.

    After the first ``dense`` recorded steps every second one of these is due, after twice as many every fourth, and so
    on, so that T steps leave about ``dense * log2(T / (every * dense) + 1)`` rows: weights change most at the start.
    Whether a step is due depends on its number alone, so a resumed training continues the same pattern.

    >>> [step for step in range(20) if Cadence(1, dense=4).due(step)]
    [0, 1, 2, 3, 4, 6, 8, 10, 12, 16]
    """

    every: int
    dense: int = DENSE

    def __post_init__(self) -> None:
        require(self.every >= 1, "record.every must be at least 1", f"it is {self.every}")

    def due(self, step: int) -> bool:
        """Whether ``step`` is recorded."""
        number, rest = divmod(step, self.every)
        if rest:
            return False
        stride = 1 << (number // self.dense + 1).bit_length() - 1
        return number % stride == 0


@dataclass(frozen=True, slots=True)
class ProbedTogether:
    """At which steps gradients are compared for the record alone: every ``every``-th, as :class:`Cadence` says.

    Processes that train together measure together. So with several of them it does not matter whether this one
    ``writes``; a single one that writes nothing measures nothing.
    """

    every: int
    writes: bool

    def __call__(self, step: int) -> bool:
        return (self.writes or world_size() > 1) and Cadence(self.every).due(step)
