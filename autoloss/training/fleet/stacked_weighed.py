"""A micro-batch of all members, after it was weighed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoloss.core.need import Need
from autoloss.core.signals import AT_ANCHOR
from autoloss.core.table import Reduced
from autoloss.training.fleet.layout import Layout
from autoloss.training.fleet.samples import StackedSampled
from autoloss.training.fleet.weighing import Numbers, member_of, weighed_of, without_gradients
from autoloss.training.step.player import Player
from autoloss.training.step.weigh import Weighed


@dataclass(frozen=True, slots=True)
class StackedWeighed:
    """A micro-batch of M members: their losses [M, N], and the numbers that the weightings saw and gave.

    ``needs`` says what each member's weighting needs to know of the gradients in this step: it sees no other signals of
    them. With ``probes`` they are recorded for those that need none. The batches of the members ``left_out`` were not
    used.
    """

    losses: Reduced
    numbers: Numbers
    layout: Layout
    needs: tuple[Need, ...]
    sampled: StackedSampled | None = None
    probes: bool = False
    left_out: Collection[int] = ()

    @property
    def weights(self) -> Tensor:
        """The effective weights [M, N]."""
        weights: Tensor = self.numbers["weights"]
        return weights

    def of(self, m: int) -> Weighed:
        """The micro-batch of member ``m``."""
        numbers, layout = {key: of for key, of in self.numbers.items() if key != "rows"}, self.layout
        probed = None
        if layout.reached is not None and self.needs[m]:
            needed = [one.name for one in AT_ANCHOR if one.need in self.needs[m]]
            numbers["signals"] = {name: of for name, of in numbers["signals"].items() if name in needed}
        elif layout.reached is not None:
            if self.probes:
                probed = weighed_of(member_of(numbers, m), layout).measured
            numbers, layout = without_gradients(numbers, layout)
        found = replace(weighed_of(member_of(numbers, m), layout), probed=probed)
        scalars = tuple(None if scalar is None else scalar[m] for scalar in self.losses.scalars)
        sampled = () if self.sampled is None else self.sampled.of(m)
        return replace(found, losses=replace(found.losses, scalars=scalars), sampled=sampled)

    def suspects(self, players: Sequence[Player]) -> list[int]:
        """The members whose losses, gradients or weights are not finite, or below what their weighting needs."""
        good = self.losses.values.isfinite().all(1) & self.weights.isfinite().all(1)
        for parts in self.numbers.get("signals", {}).values():
            good &= torch.stack([of.flatten(1).isfinite().all(1) for of in parts.values()]).all(0)
        found = set[int]() if bool(good.all()) else {m for m, ok in enumerate(good.tolist()) if not ok}
        low = [m for m, player in enumerate(players) if player.weighting.positive]
        if low and bool(self.numbers["seen"][low].amin() < max(max(players[m].weighting.least()) for m in low)):
            found |= {*low}
        return sorted(found)
