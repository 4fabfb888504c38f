"""Finds losses, gradients and weights that are not finite, or negative, without waiting for the device."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import NonFiniteError, NonPositiveError, require
from autoloss.core.signals import Signals
from autoloss.core.tensors.deferred_checks import DeferredChecks
from autoloss.core.weighting import Weighting
from autoloss.training.step.weigh import Weighed

POLICIES = ("raise", "skip")
BLOCK = 256  # steps on an accelerator between two checks, each of which waits for the device
# A gradient scaler lowers its factor where gradients overflow. They lie with the losses if they are not finite at a
# factor as small as this, or for so many batches in a row.
LEAST_SCALE, PATIENCE = 2.0**-10, 256
Found = tuple[int, float] | None


@dataclass(frozen=True, slots=True)
class Row:
    """The numbers of one step that are to be checked: losses [N], weights [N], units [K] that must not be negative.

    ``gradients`` [K] are the units' norms at the anchor, or their squares, if they were measured. What overflows where
    the factor ``scale`` of the losses is above ``least`` is left to the gradient scaler. ``met`` says that the
    gradients met in a fork: the backward is under way, and the batch cannot be left out any more.
    """

    step: int
    values: Tensor
    weights: Tensor
    units: Tensor | None
    gradients: Tensor | None
    scale: Tensor | None
    least: float = LEAST_SCALE
    met: bool = False


class NonFiniteWatch:
    """Finds losses and gradients that are not finite, and negative losses where the weighting needs them at least 0.

    With ``on_nonfinite="raise"`` a loss that is not finite, or whose gradient at the anchor is not, is an error: at
    once on a CPU; on an accelerator at the next :meth:`check`, which comes with the next block of records and after at
    most ``BLOCK`` steps. With ``"skip"`` every step is checked (which waits for the device), and a batch with such a
    loss is left out and counted. ``positive_for`` is a weighting that needs losses of at least 0 (or another bound): a
    smaller one is an error under either policy. ``whose`` names the player whose losses these are. A mask (or a lack of
    labels) that leaves no sample gives a warning, once for each loss.
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
        self._held_out: Tensor | None = None  # the lowest held-out losses [K] since the last check
        self._overflows = 0

    def rejects(self, weighed: Weighed, scale: Tensor | None = None) -> bool:
        """Keep a step's losses, gradients and weights for the check; ``True`` if its batch is to be left out.

        Where losses are multiplied by the ``scale`` of a gradient scaler (float16), gradients and weights that overflow
        are no error at first: the scaler skips such a step and lowers its factor.
        """
        losses, signals = weighed.losses, weighed.signals
        self.note_absent(losses.masked, losses.present)
        units = None if self._positive_for is None else signals.values
        if units is not None and not signals.whole and max(self._least) > 0:
            units = units.where(signals.present, math.inf)  # an absent loss, which has the value 1, is not too small
        # Absent losses and weights are 0, absent units 1.
        return self._keep(Row(signals.step, losses.values, weighed.weights, units, _gradients(signals), scale))

    def note_absent(self, masked: Sequence[bool], present: Tensor) -> None:
        """Warn, once for each loss, of a mask that left no sample: of those ``masked``, ``present`` [N] says which."""
        for i, name in enumerate(self._names):
            if i < len(masked) and masked[i]:
                said = f"A batch should have samples for every loss, but the mask of {self._of} {name!r} left none"
                self._empty.remark(f"{said}. The loss is absent from that batch.", ~present[i])

    def met(self, weighed: Weighed, scale: Tensor, half: bool) -> None:
        """Keep the gradients that met in a fork, and their weights, for the check.

        ``scale`` is what the total was multiplied by before its backward; above 1, or in float16 (``half``), a gradient
        scaler may have done it.
        """
        signals, least = weighed.signals, LEAST_SCALE if half else 1.0
        known = _gradients(signals)
        if known is not None:
            self._keep(Row(signals.step, weighed.losses.values, weighed.weights, None, known, scale, least, met=True))

    def _keep(self, row: Row) -> bool:
        if self._rows and self._rows[0].values.device != row.values.device:
            self.check()
        self._rows.append(row)
        return self._look() if self.skips or row.values.device.type == "cpu" or len(self._rows) >= BLOCK else False

    def check(self) -> None:
        """Raise :class:`NonFiniteError` or :class:`NonPositiveError` for the first bad loss since the last check."""
        self._empty.check()
        self._look()
        self._look_held_out()

    def see_held_out(self, units: Tensor) -> None:
        """Keep the units' held-out losses [K], whose logarithms are taken, for the check that none is negative."""
        self._held_out = units if self._held_out is None else torch.fmin(self._held_out, units)
        if units.device.type == "cpu":
            self._look_held_out()

    def _look_held_out(self) -> None:
        lowest, self._held_out = self._held_out, None
        negative = None if lowest is None else _first(lowest.tolist(), lambda x: x < 0)
        if negative is not None:
            name, value = self._units[negative[0]], negative[1]
            raise NonPositiveError(
                f"A held-out loss whose logarithm is to fall must be at least 0, but {self._of} {name!r} is {value:g}. "
                "Set held_out.objective=sum (objective='sum' in `lookahead`), or leave it out of the primary losses."
            )

    def _look(self) -> bool:
        """Check the steps that were kept, which waits for the device; ``True`` if the last one is to be left out."""
        rows, self._rows = self._rows, []
        if not rows or (len(rows) == 1 and self._is_plain(rows[0])):
            return False
        values, weights = _numbers([row.values for row in rows]), _numbers([row.weights for row in rows])
        units, gradients = _numbers([row.units for row in rows]), _numbers([row.gradients for row in rows])
        scales = _numbers([None if row.scale is None else row.scale.float().reshape(1) for row in rows])
        rejected = False
        for row, of, weighed, known, steep, scale in zip(rows, values, weights, units, gradients, scales, strict=True):
            infinite = _first(of, _infinite)
            endless, overflown = _first(steep, _infinite), _overflown(weighed, of)
            if scale and self._left_to_scaler(row, scale[0], bool(endless or overflown)):
                endless = overflown = None
            rejected = self.skips and not row.met and bool(infinite or endless or overflown)
            self.skipped += rejected
            if not rejected:
                self._raise_nonfinite(row, infinite, endless, overflown, zero=bool(overflown and not of[overflown[0]]))
            short = [x - low for x, low in zip(known, self._least, strict=False)]
            lowest = _first(short, lambda x: x < 0)
            self._raise_too_small(row.step, None if lowest is None else (lowest[0], known[lowest[0]]))
        return rejected

    def _is_plain(self, row: Row) -> bool:
        """Whether nothing is wrong with a row, for the case that is the most frequent on a CPU."""
        if row.scale is not None or row.units is not None:
            return False
        numbers = row.values.tolist() + row.weights.tolist()
        if row.gradients is not None:
            numbers += row.gradients.tolist()
        return all(map(math.isfinite, numbers))

    def _left_to_scaler(self, row: Row, scale: float, overflows: bool) -> bool:
        self._overflows = self._overflows + 1 if overflows else 0
        return scale > row.least and self._overflows <= PATIENCE

    def _raise_nonfinite(self, row: Row, infinite: Found, endless: Found, overflown: Found, zero: bool) -> None:
        skip = "" if row.met else ", or set on_nonfinite=skip to leave such batches out"
        if infinite is not None:
            name, value = self._names[infinite[0]], infinite[1]
            raise NonFiniteError(
                f"Every loss must be finite, but {self._of} {name!r} is {value:g} at step {row.step}. Look at that "
                f"batch, lower the learning rate or clip gradients{skip}."
            )
        if endless is not None:
            raise NonFiniteError(
                "Every loss's gradient at the anchor must be finite, but that of "
                f"{self._of} {self._units[endless[0]]!r} is not at step {row.step}, or its square is too large for "
                "float32. Look for a root, logarithm or division near 0, or scale that loss by its base weight"
                f"{skip}."
            )
        if overflown is not None:
            name, value = self._names[overflown[0]], overflown[1]
            if zero:
                raise NonFiniteError(
                    f"A loss must not be 0 for long, but {self._of} {name!r} is, and its weight is {value:g} at step "
                    f"{row.step}. Give None where a batch has nothing for it, or name it in `unbalanced`."
                )
            raise NonFiniteError(
                f"Every weight must be finite, but that of {self._of} {name!r} is {value:g} at step {row.step}: the "
                "losses, or inner products of their gradients, are too large or too small for float32. Scale that "
                f"loss by its base weight or clip gradients{skip}."
            )

    def _raise_too_small(self, step: int, negative: Found) -> None:
        if negative is not None and self._positive_for is not None:
            name, value, least = self._units[negative[0]], negative[1], self._least[negative[0]]
            raise NonPositiveError(
                f"Weighting {self._positive_for.title()!r} needs losses of at least {least:g}, but {self._of} {name!r} "
                f"is {value:g} at step {step}. {self._positive_for.remedy}, name it in `unbalanced`, or choose another "
                "weighting."
            )


def _gradients(signals: Signals) -> Tensor | None:
    """The norms [K] of the units' gradients at the anchor, or their squares; ``None`` if they were not measured."""
    if signals.measured_gram is not None:
        return signals.measured_gram.diagonal()
    return None if signals.measured_stats is None else signals.measured_stats.item_norm


def _numbers(rows: Sequence[Tensor | None]) -> list[list[float]]:
    """The rows on the host; an empty one for ``None``."""
    here = [row for row in rows if row is not None]
    # On a CPU there is one row at a time, and nothing to stack.
    found = iter(torch.stack(here).tolist() if len(here) > 1 else [row.tolist() for row in here])
    return [[] if row is None else next(found) for row in rows]


def _infinite(x: float) -> bool:
    return not math.isfinite(x)


def _overflown(weights: Sequence[float], losses: Sequence[float]) -> Found:
    """The first weight that is not finite; of those the first whose loss is 0, since it is the likely cause."""
    bad = [(i, x) for i, x in enumerate(weights) if not math.isfinite(x)]
    return next((one for one in bad if losses[one[0]] == 0), bad[0] if bad else None)


def _first(numbers: Sequence[float], bad: Callable[[float], bool]) -> Found:
    return next(((i, x) for i, x in enumerate(numbers) if bad(x)), None)
