"""Multipliers that keep losses and metrics within bounds, learned while training."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from autoloss.core.constraint import LEAST, Constraint
from autoloss.core.errors import ConstraintWarning
from autoloss.core.tensors.constants import constant, flags
from autoloss.core.tensors.precision import exact
from autoloss.core.tensors.state import StateModule, on_host

MULTIPLIER, SLACK = "multiplier", "slack"  # kinds of columns of the record
# Decays of the means of a loss over steps: the one that the multiplier follows, where a lag causes oscillation, and the
# one that is shown. A metric is a mean already.
RECENT, SHOWN = 0.5, 0.9
NEAR = 0.05  # a violation below this share of the bound is noise


class Constraints(StateModule):
    """Learns a multiplier m for each bound b of a value v, beside the weights: a primal-dual method, damped.

    The violation is ``g = (v - b) / |b|``, clipped to [-1, 1] and with the other sign for a lower bound; for a bound
    of 0 it is v itself. A proportional-integral controller moves the multiplier on a logarithmic scale::

        integral <- clip(integral + rate g, low, ln(1 + limit))
        m = exp(clip(integral + damping g)) - 1

    once for each optimiser step for a loss (of which v is a mean over about two steps, over all ranks), and once for
    each validation for a metric. The effective weight of the loss is its base weight times the weighting's weight
    times ``1 + m``; ``1 - m`` for a lower bound of that loss itself; and ``m`` alone if it is no goal (then the
    logarithm is that of m, which is at least 1e-6). Several bounds of one loss add up.

    Where training settles, either m = 0 and v is within its bound, or v = b: the conditions of Karush, Kuhn and Tucker
    for the weighted sum of the losses, whose multiplier is m times the loss's own weight. Without ``damping`` this is
    gradient ascent of the dual, which oscillates around the bound; with it the multiplier also follows the violation at
    once. Source: Stooke, Achiam, Abbeel, "Responsive safety in reinforcement learning by PID Lagrangian methods",
    ICML 2020, arXiv:2007.03964. Here there is no derivative part, violations are relative, and m moves by
    factors (as in Rezende, Viola, "Taming VAEs", arXiv:1810.00597), so that one rate serves losses of any scale.
    """

    integral: Tensor
    recent: Tensor
    value: Tensor

    def __init__(self, constraints: Sequence[Constraint], losses: Sequence[str]) -> None:
        super().__init__()
        self.constraints = tuple(constraints)
        self.names = [one.name for one in constraints]
        self.places = [losses.index(one.loss) for one in constraints]
        self._sources = [0 if one.measured else losses.index(one.of) for one in constraints]
        self._rows = {key: tuple(number(one) for one in constraints) for key, number in _NUMBERS.items()}
        self._said: set[str] = set()
        with on_host():
            starts = [math.log(one.start + one.goal) for one in constraints]
            self.add_state("integral", torch.tensor(starts, dtype=torch.float32))
            for name in ("recent", "value"):
                self.add_state(name, torch.full((len(starts),), torch.nan, dtype=torch.float32))

    def multipliers(self) -> Tensor:
        """The multipliers [C], at least 0."""
        push = (self._row("damping") * self._violation(self.recent)).nan_to_num(nan=0.0)
        return (self.integral + push).clamp(self._row("low"), self._row("high")).exp() - self._row("goal")

    def slacks(self) -> Tensor:
        """How far each value is within its bound, in its own units [C]: below 0 it is not; NaN if it is not known."""
        return self._row("side") * (self._row("bound") - self.value)

    def now(self) -> tuple[dict[int, Tensor], dict[str, Tensor]]:
        """The factor of each constrained loss's base weight, by the loss's place; and the record's columns of them."""
        multipliers, slacks = self.multipliers().unbind(), self.slacks().unbind()
        factors: dict[int, Any] = {}
        columns: dict[str, Tensor] = {}
        for one, place, multiplier, slack in zip(self.constraints, self.places, multipliers, slacks, strict=True):
            before = factors.get(place, float(one.goal))
            factors[place] = before - multiplier if one.falls else before + multiplier
            columns |= {f"{MULTIPLIER}/{one.name}": multiplier, f"{SLACK}/{one.name}": slack}
        return factors, columns

    def see_losses(self, values: Tensor, present: Tensor, stepped: Tensor | None = None) -> None:
        """Learn from the losses [N] of an optimiser step, those ``present`` and finite, if it was ``stepped``."""
        if all(one.measured for one in self.constraints):
            return
        now = torch.stack([values[i] for i in self._sources])
        by_step = flags(tuple(not one.measured for one in self.constraints), values.device)
        here = torch.stack([present[i] for i in self._sources]) & by_step & now.isfinite()
        recent, value = (
            torch.where(before.isnan(), now, before.lerp(now, 1 - decay))
            for before, decay in ((self.recent, RECENT), (self.value, SHOWN))
        )
        self._learn(recent, value, here if stepped is None else here & stepped)

    def see_metrics(self, metrics: Mapping[str, float | Tensor]) -> None:
        """Learn from the metrics of a validation, by name; those without a bound are ignored."""
        found = [metrics.get(one.of) if one.measured else None for one in self.constraints]
        if all(value is None for value in found):
            return
        numbers = [math.nan if value is None else float(value) for value in found]
        now = torch.tensor(numbers, dtype=torch.float32, device=self.value.device)
        self._learn(now, now, now.isfinite())

    def check(self) -> None:
        """Warn, once for each, of multipliers that have reached their limits in vain; waits for the device."""
        at_limit = (self.integral >= self._row("high") - 1e-4) & (self._violation(self.value) > NEAR)
        for one, full, value in zip(self.constraints, at_limit.tolist(), self.value.tolist(), strict=True):
            if full and one.name not in self._said:
                self._said.add(one.name)
                where = "" if one.loss == one.of else f" of {one.loss}"
                warnings.warn(
                    f"A bound must be one that the network can meet, but constraints.{one.name}={one.bound:g} is not "
                    f"met with the largest multiplier{where}, {one.limit:g}: {one.of} is {value:.4g}. Choose another "
                    f"bound, or raise constraints.{one.of}.limit.",
                    ConstraintWarning,
                    stacklevel=2,
                )

    def shown(self) -> dict[str, dict[str, Any]]:
        """What a summary says of each bound; a value that was never measured is ``None``."""
        rows = zip(
            self.constraints, self.multipliers().tolist(), self.value.tolist(), self.slacks().tolist(), strict=True
        )
        return {
            one.name: {
                "bound": one.bound,
                "loss": one.loss,
                "multiplier": multiplier,
                "value": None if math.isnan(value) else value,
                "slack": None if math.isnan(value) else slack,
            }
            for one, multiplier, value, slack in rows
        }

    def unseen(self) -> list[str]:
        """The bounds of metrics that no validation has given."""
        pairs = zip(self.constraints, self.value.isnan().tolist(), strict=True)
        return [one.name for one, missing in pairs if missing and one.measured]

    def _learn(self, recent: Tensor, value: Tensor, here: Tensor) -> None:
        with torch.no_grad(), exact(here.device.type):
            moved = self.integral + self._row("rate") * self._violation(recent)
            torch.where(here, moved.clamp(self._row("low"), self._row("high")), self.integral, out=self.integral)
            torch.where(here, recent, self.recent, out=self.recent)
            torch.where(here, value, self.value, out=self.value)

    def _violation(self, value: Tensor) -> Tensor:
        return ((value - self._row("bound")) * self._row("relative")).clamp(-1.0, 1.0)

    def _row(self, key: str) -> Tensor:
        """A number of each constraint [C]."""
        return constant(self._rows[key], self.value.device)


_NUMBERS: dict[str, Callable[[Constraint], float]] = {
    "bound": lambda one: one.bound,
    "side": lambda one: -1.0 if one.lower else 1.0,
    "relative": lambda one: (-1.0 if one.lower else 1.0) / one.unit,
    "rate": lambda one: one.rate,
    "damping": lambda one: one.damping,
    "goal": lambda one: float(one.goal),
    "low": lambda one: 0.0 if one.goal else math.log(LEAST),
    "high": lambda one: math.log(one.limit + one.goal),
}
