"""Finds losses and weights that are not finite, or negative where they must not be, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import NonFiniteError, NonPositiveError, require
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.core.weighting import Weighting
from autoloss.training.step.weigh import Weighed

POLICIES = ("raise", "skip")
BLOCK = 256  # steps on an accelerator between two checks, each of which waits for the device
Found = tuple[int, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one step that are to be checked: losses [N], weights [N], units [K] that must not be negative."""

    step: int
    scaled: bool
    values: Tensor
    weights: Tensor
    units: Tensor | None


class NonFiniteWatch:
    """Finds losses that are not finite, and negative losses where the weighting needs losses of at least 0.

    With ``on_nonfinite="raise"`` a loss that is not finite is an error: at once on a CPU; on an accelerator at the next
    :meth:`check`, which comes with the next block of records and after at most ``BLOCK`` steps. With ``"skip"`` every
    step is checked (which waits for the device), and a batch with such a loss is left out and counted. ``positive_for``
    is a weighting that needs losses of at least 0 (or another bound): a smaller one is an error under either policy.
    ``whose`` names the player whose losses these are. A mask that selects no sample warns, once for each loss.
    """

    def __init__(
        self,
        names: tuple[str, ...],
        on_nonfinite: str = "raise",
        units: tuple[str, ...] = (),
        positive_for: Weighting | None = None,
        whose: str = "",
    ) -> None:
        known = ", ".join(POLICIES)
        require(on_nonfinite in POLICIES, f"on_nonfinite must be one of {known}", f"it is {on_nonfinite!r}")
        self.skips, self._positive_for = on_nonfinite == "skip", positive_for
        self._least = () if positive_for is None else positive_for.least()
        self.skipped = 0
        self._of = f"the {whose}'s loss" if whose else "loss"
        self._empty = DeferredChecks()
        self._names, self._units = names, units
        self._rows: list[Row] = []

    def rejects(self, weighed: Weighed, scaled: bool = False) -> bool:
        """Keep a step's losses and weights for the check; ``True`` if its batch is to be left out.

        With ``scaled`` losses (float16) weights that overflow are no error: the scaler skips such a step.
        """
        losses, signals = weighed.losses, weighed.signals
        for i, masked in enumerate(losses.masked):
            if masked:
                name = self._names[i]
                said = f"A batch should have samples for every loss, but the mask of {self._of} {name!r} left none"
                self._empty.remark(f"{said}. The loss is 0 for that batch.", ~losses.present[i])
        units = None if self._positive_for is None else signals.values
        if units is not None and not signals.whole and max(self._least) > 0:
            units = units.where(signals.present, math.inf)  # an absent loss, which has the value 1, is not too small
        if self._rows and self._rows[0].values.device != losses.values.device:
            self.check()
        self._rows.append(Row(signals.step, scaled, losses.values, weighed.weights, units))
        # Absent losses and weights are 0, absent units 1.
        if self.skips or losses.values.device.type == "cpu" or len(self._rows) == BLOCK:
            return self._look()
        return False

    def check(self) -> None:
        """Raise :class:`NonFiniteError` or :class:`NonPositiveError` for the first bad loss since the last check."""
        self._empty.check()
        self._look()

    def _look(self) -> bool:
        """Check the steps that were kept, which waits for the device; ``True`` if the last one is to be left out."""
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
            short = [x - low for x, low in zip(known, self._least, strict=False)]
            lowest = _first(short, lambda x: x < 0)
            negative = None if lowest is None else (lowest[0], known[lowest[0]])
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
                f"Every weight must be finite, but that of {self._of} {name!r} is {value:g} at step {step}: the "
                "losses, or inner products of their gradients, are too large or too small for float32. Scale that "
                "loss by its base weight, clip gradients, or set on_nonfinite=skip to leave such batches out."
            )
        if negative is not None and self._positive_for is not None:
            name, value, least = self._units[negative[0]], negative[1], self._least[negative[0]]
            raise NonPositiveError(
                f"Weighting {self._positive_for.title()!r} needs losses of at least {least:g}, but {self._of} {name!r} "
                f"is {value:g} at step {step}. {self._positive_for.remedy}, name it in `unbalanced`, or choose another "
                "weighting."
            )


def _first(numbers: Sequence[float], bad: Callable[[float], bool]) -> Found:
    return next(((i, x) for i, x in enumerate(numbers) if bad(x)), None)
