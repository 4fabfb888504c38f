"""Watches the losses for what no weighting can use, without waiting for the device."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import NonFiniteError, NonPositiveError, require
from autoloss.core.notices import Notices
from autoloss.training.weigh import Weighed

POLICIES = ("raise", "skip")


@dataclass(slots=True)
class FirstSeen:
    """Remembers on the device for which of ``names``, at which step, something was first seen."""

    names: tuple[str, ...]
    rows: Tensor | None = None

    def note(self, where: Tensor, values: Tensor, step: int) -> None:
        """See it at ``step`` ``where`` ([K] bool), with the losses at ``values`` [K]."""
        if self.rows is None:
            self.rows = torch.full((2, len(self.names)), -1.0, dtype=torch.float64, device=where.device)
        now = torch.stack([torch.full_like(self.rows[0], step), values.double()])
        self.rows = torch.where(where & (self.rows[0] < 0), now, self.rows)

    def earliest(self) -> tuple[str, float, int] | None:
        """The name, value and step of the first, if there is any; waits for the device."""
        if self.rows is None:
            return None
        steps, values = self.rows.tolist()
        seen = [(int(s), name, v) for s, name, v in zip(steps, self.names, values, strict=True) if s >= 0]
        step, name, value = min(seen, default=(-1, "", 0.0))
        return (name, value, step) if seen else None


class Watch:
    """Looks for losses that are not finite, and for negative ones where the weighting needs positive.

    With ``on_nonfinite="raise"`` the error comes at the next :meth:`check`: at once on a CPU, with
    the next block of records elsewhere. With ``"skip"`` each step is looked at (which waits for
    the device), its batch is left out, and counted. ``positive_for`` names a weighting that needs
    its units' losses to be at least 0: a negative one is an error under either policy. ``whose`` names the player
    whose losses these are. A mask that selects nothing is warned of, once for each loss.
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
        self._empty = Notices()
        self._infinite, self._negative, self._overflown = FirstSeen(names), FirstSeen(units), FirstSeen(names)

    def rejects(self, weighed: Weighed, scaled: bool = False) -> bool:
        """Note a step's losses and weights; ``True`` if its batch is to be left out.

        Where losses are ``scaled`` gradients overflow now and then, and the scaler skips the step.
        """
        losses, signals = weighed.losses, weighed.signals
        bad = losses.present & ~losses.values.isfinite()
        # An inner product overflows where the gradients themselves do not.
        overflown = losses.present & ~bad & ~weighed.weights.isfinite() & ~bad.any() & (not scaled)
        for i, masked in enumerate(losses.masked):
            if masked:
                name = self._infinite.names[i]
                said = f"A batch should have samples for every loss, but the mask of {self._of} {name!r} left none"
                self._empty.remark(f"{said}: it was 0 there.", ~losses.present[i])
        if self.positive_for is not None:
            self._negative.note(signals.present & (signals.values < 0), signals.values, signals.step)
        rejected = self.skips and bool((bad | overflown).any())
        self.skipped += rejected
        if not self.skips:
            self._infinite.note(bad, losses.values, signals.step)
            self._overflown.note(overflown, weighed.weights, signals.step)
        if bad.device.type == "cpu":
            self.check()
        return rejected

    def check(self) -> None:
        """Raise :class:`NonFiniteError` or :class:`NonPositiveError` for the first bad loss, if any was seen."""
        self._empty.check()
        if infinite := self._infinite.earliest():
            name, value, step = infinite
            raise NonFiniteError(
                f"Every loss must be finite, but {self._of} {name!r} is {value:g} at step {step}. Look at that batch, "
                "lower the learning rate or clip gradients, or set on_nonfinite=skip to leave such batches out."
            )
        if overflown := self._overflown.earliest():
            name, value, step = overflown
            raise NonFiniteError(
                f"Every weight must be finite, but that of {self._of} {name!r} is {value:g} at step {step}: inner "
                "products of the gradients, or the losses, leave what float32 holds. Scale that loss by its base "
                "weight, clip gradients, or set on_nonfinite=skip to leave such batches out."
            )
        if negative := self._negative.earliest():
            name, value, step = negative
            raise NonPositiveError(
                f"Weighting {self.positive_for!r} needs losses of at least 0, but {self._of} {name!r} is {value:g} at "
                f"step {step}. Shift that loss, name it in `unbalanced`, or choose another weighting."
            )
