"""A micro-batch of all members, after it was weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.probe import Measured
from autoloss.training.fleet.measure import like
from autoloss.training.fleet.weighing import Layout, Numbers
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed


@dataclass(frozen=True, slots=True)
class StackedWeighed:
    """A micro-batch of M members: their losses [M, N], and the numbers that the weightings saw and gave.

    ``compares`` says which members' weightings compare gradients in this step: the others do not see them.
    """

    losses: Reduced
    numbers: Numbers
    layout: Layout
    compares: tuple[bool, ...]

    @property
    def weights(self) -> Tensor:
        """The effective weights [M, N]."""
        weights: Tensor = self.numbers["weights"]
        return weights

    def of(self, m: int) -> Weighed:
        """The micro-batch of member ``m``."""
        numbers, layout, clock = self.numbers, self.layout, self.layout.clock
        losses = replace(
            self.losses,
            scalars=tuple(None if scalar is None else scalar[m] for scalar in self.losses.scalars),
            values=self.losses.values[m],
            counts=self.losses.counts[m],
            present=self.losses.present[m],
        )
        measured = None
        if layout.reached is not None and self.compares[m]:
            signals = {
                name: like(name, layout.templates[name], {key: of[m] for key, of in parts.items()})
                for name, parts in numbers["signals"].items()
            }
            reached = flags(layout.reached, losses.values.device)
            measured = Measured(reached, signals, None, layout.items, whole=all(layout.reached), here=layout.reached)
        signals_of = Signals(
            layout.terms.units,
            numbers["seen"][m],
            numbers["balanced"][m],
            clock.step,
            clock.epoch,
            clock.progress,
            clock.plateaus,
            whole=layout.whole and not (layout.declared or (measured and "unbalanced" in numbers)),
            **{f"measured_{name}": value for name, value in (measured.signals if measured else {}).items()},
        )
        weights = self.weights[m]
        total = (weights * losses.values).sum()
        return Weighed(total, weights, losses, signals_of, numbers["unit_counts"][m], measured)

    def suspects(self, players: Sequence[Player]) -> list[int]:
        """The members whose losses, gradients or weights are not finite, or below what their weighting needs."""
        good = self.losses.values.isfinite().all(1) & self.weights.isfinite().all(1)
        for parts in self.numbers.get("signals", {}).values():
            good &= torch.stack([of.flatten(1).isfinite().all(1) for of in parts.values()]).all(0)
        found = {} if bool(good.all()) else {m for m, ok in enumerate(good.tolist()) if not ok}
        low = [m for m, player in enumerate(players) if player.weighting.positive]
        if low and bool(self.numbers["seen"][low].amin() < max(max(players[m].weighting.least()) for m in low)):
            found = {*found, *low}
        return sorted(found)
