"""Watches the losses for what no weighting can use, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import NonFiniteError, NonPositiveError, require
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.training.step.weigh import Weighed

POLICIES = ("raise", "skip")
BLOCK = 256  # steps on an accelerator between two looks at them, each of which waits for it
Found = tuple[int, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """What is to be looked at of one step: losses [N], weights [N], and units [K] that must not be negative."""

    step: int
    scaled: bool
    values: Tensor
    weights: Tensor
    units: Tensor | None


class NonFiniteWatch:
    """Looks for losses that are not finite, and for negative ones where the weighting needs positive.

    With ``on_nonfinite="raise"`` the error comes at the next :meth:`check`: at once on a CPU, with the next block of
    records elsewhere, and after some hundred steps at the latest. With ``"skip"`` each step is looked at (which waits
    for the device), its batch is left out, and counted. ``positive_for`` names a weighting that needs its units' losses
    to be at least 0: a negative one is an error under either policy. ``whose`` names the player whose losses these
    are. A mask that selects nothing is warned of, once for each loss.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        on_nonfinite: str = "raise",
        units: tuple[str, ...] = (),
        positive_for: str | None = None,
        whose: str = "",
    ) -> None:
        known = ", ".join(POLICIES)
        require(on_nonfinite in POLICIES, f"on_nonfinite must be one of {known}", f"it is {on_nonfinite!r}")
        self.skips, self.positive_for = on_nonfinite == "skip", positive_for
        self.skipped = 0
        self._of = f"the {whose}'s loss" if whose else "loss"
        self._empty = DeferredChecks()
        self._names, self._units = names, units
        self._rows: list[Row] = []

    def rejects(self, weighed: Weighed, scaled: bool = False) -> bool:
        """Note a step's losses and weights; ``True`` if its batch is to be left out.

        Where losses are ``scaled`` gradients overflow now and then, and the scaler skips the step.
        """
        losses, signals = weighed.losses, weighed.signals
        for i, masked in enumerate(losses.masked):
            if masked:
                name = self._names[i]
                said = f"A batch should have samples for every loss, but the mask of {self._of} {name!r} left none"
                self._empty.remark(f"{said}: it was 0 there.", ~losses.present[i])
        units = None if self.positive_for is None else signals.values
        if self._rows and self._rows[0].values.device != losses.values.device:
            self.check()
        self._rows.append(Row(signals.step, scaled, losses.values, weighed.weights, units))
        # Absent losses and weights are 0, absent units 1.
        if self.skips or losses.values.device.type == "cpu" or len(self._rows) == BLOCK:
            return self._look()
        return False

    def check(self) -> None:
        """Raise :class:`NonFiniteError` or :class:`NonPositiveError` for the first bad loss, if any was seen."""
        self._empty.check()
        self._look()

    def _look(self) -> bool:
        """Look at the steps that were noted, which waits for the device; ``True`` if the last is to be left out."""
        rows, self._rows = self._rows, []
        if not rows:
            return False
        values = torch.stack([row.values for row in rows]).tolist()
        weights = torch.stack([row.weights for row in rows]).tolist()
        units = [row.units for row in rows if row.units is not None]
        unit_values = torch.stack(units).tolist() if units else [[]] * len(rows)
        rejected = False
        for row, losses, of, known in zip(rows, values, weights, unit_values, strict=True):
            infinite = _first(losses, lambda x: not math.isfinite(x))
            overflown = None if row.scaled else _first(of, lambda x: not math.isfinite(x))
            rejected = self.skips and (infinite is not None or overflown is not None)
            self.skipped += rejected
            negative = _first(known, lambda x: x < 0)
            self._raise(row.step, None if rejected else infinite, None if rejected else overflown, negative)
        return rejected

    def _raise(self, step: int, infinite: Found, overflown: Found, negative: Found) -> None:
        if infinite is not None:
            name, value = self._names[infinite[0]], infinite[1]
            raise NonFiniteError(
                f"Every loss must be finite, but {self._of} {name!r} is {value:g} at step {step}. Look at that batch, "
                "lower the learning rate or clip gradients, or set on_nonfinite=skip to leave such batches out."
            )
        if overflown is not None:
            name, value = self._names[overflown[0]], overflown[1]
            raise NonFiniteError(
                f"Every weight must be finite, but that of {self._of} {name!r} is {value:g} at step {step}: inner "
                "products of the gradients, or the losses, leave what float32 holds. Scale that loss by its base "
                "weight, clip gradients, or set on_nonfinite=skip to leave such batches out."
            )
        if negative is not None:
            name, value = self._units[negative[0]], negative[1]
            raise NonPositiveError(
                f"Weighting {self.positive_for!r} needs losses of at least 0, but {self._of} {name!r} is {value:g} at "
                f"step {step}. Shift that loss, name it in `unbalanced`, or choose another weighting."
            )


def _first(numbers: Sequence[float], bad: Callable[[float], bool]) -> Found:
    return next(((i, x) for i, x in enumerate(numbers) if bad(x)), None)
