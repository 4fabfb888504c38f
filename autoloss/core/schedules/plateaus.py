"""How often a validation metric has stopped improving."""

from __future__ import annotations

import math

from autoloss.core.errors import require


class Plateaus:
    """Counts plateaus: a plateau is ``patience`` values in a row that do not improve on the best by over ``change``.

    ``change`` is relative to the best value. After a plateau the values are counted from 0 again; the best one stays.

    >>> plateaus = Plateaus(patience=2)
    >>> for error in (0.5, 0.4, 0.4, 0.41, 0.3, 0.3, 0.3):
    ...     plateaus.see(error)
    >>> plateaus.count
    2
    """

    def __init__(self, patience: int = 3, change: float = 0.0) -> None:
        require(patience >= 1, "plateau.patience must be at least 1", f"it is {patience}")
        require(change >= 0, "plateau.change must not be negative", f"it is {change}")
        self.patience, self.change = patience, change
        self.count, self.waited, self.best = 0, 0, math.inf

    def see(self, value: float, goal: str = "min") -> None:
        """Take in the metric of one validation; ``goal`` is ``"min"`` if small is good and ``"max"`` if large is."""
        value = -value if goal == "max" else value
        better = value < self.best - self.change * abs(self.best) if math.isfinite(self.best) else value < self.best
        if better:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited >= self.patience:
            self.count, self.waited = self.count + 1, 0

    def state(self) -> dict[str, float]:
        """The counts and the best value, for a checkpoint."""
        return {"count": self.count, "waited": self.waited, "best": self.best}

    def load(self, state: dict[str, float]) -> None:
        """Set what :meth:`state` gave, from a checkpoint."""
        self.count, self.waited, self.best = int(state["count"]), int(state["waited"]), float(state["best"])
