"""One player: its losses, its weighting, and what they remember between steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.constants import flags
from autoloss.core.errors import unknown
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.state import StateModule, commit
from autoloss.core.table import LossTable
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.training.watch import Watch
from autoloss.training.weigh import Weighed, weigh, weighted_sum
from autoloss.training.window import Window


class Player(StateModule):
    """Weighs tables step after step: :meth:`step` for each micro-batch, :meth:`commit` for each optimiser step."""

    last: Tensor
    apart: Tensor

    def __init__(
        self,
        names: Sequence[str],
        weighting: Weighting,
        base: Mapping[str, float] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        unbalanced: Sequence[str] = (),
        on_nonfinite: str = "raise",
    ) -> None:
        super().__init__()
        self.terms = Terms(names, base, groups)
        for name in unbalanced:
            if name not in self.terms.units:
                raise unknown("loss", name, self.terms.units)
        self.weighting = weighting.bind(self.terms.units)
        positive_for = weighting.title() if weighting.positive else None
        self.watch = Watch(self.terms.names, on_nonfinite, self.terms.units, positive_for)
        self.window = Window([])
        self._declared = tuple(unit in unbalanced for unit in self.terms.units)
        self.add_state("last", self.terms.spread(torch.ones(len(self.terms.units))).clone())
        self.add_state("apart", torch.tensor(self._declared))
        if self.weighting.needs & GRADIENTS:
            _keep_compiled_buffers()

    def step(
        self, table: LossTable, clock: Clock, scale: Tensor | None = None, accumulates: bool = False
    ) -> Weighed | None:
        """Weigh one micro-batch; ``None`` if a loss is not finite and such batches are left out."""
        self._set_apart(table)
        weighed = weigh(table, self.weighting, self.terms, clock, scale, accumulates, self.apart)
        if weighed.measured is not None:
            self._note_reached(weighed)
        if self.watch.rejects(weighed):
            return None
        self.last.copy_(torch.where(weighed.losses.present & weighed.weights.isfinite(), weighed.weights, self.last))
        self.window.add(weighed)
        return weighed

    def frozen(self, table: LossTable) -> Tensor:
        """The total with the last weights; measures nothing and learns nothing."""
        losses = table.reduced(self.terms.names)
        return weighted_sum(losses, torch.where(losses.present, self.last, 0.0))

    def commit(self, stepped: Tensor | None = None) -> None:
        """Let the weighting learn from the window, where everything is finite and the optimiser ``stepped``."""
        signals = self.window.take()
        if signals is None:
            return
        finite = signals.finite() if stepped is None else signals.finite() & stepped
        commit(self.weighting, lambda: self.weighting.update(signals), finite, signals.present)

    def looks_ahead(self, step: int) -> bool:
        """Whether the losses of this optimiser step are wanted again after it, by :meth:`look_again`."""
        return bool(self.weighting.needs_at(step) & Need.LOOKAHEAD)

    def look_again(self, tables: Sequence[LossTable]) -> None:
        """Take the losses of the window's micro-batches after the optimiser's step, one table for each."""
        values = [self.terms.gather(table.reduced(self.terms.names))[0] for table in tables]
        self.window.look_again(values)

    def _set_apart(self, table: LossTable) -> None:
        entries = [[table.entry(self.terms.names[i]) for i in members] for members in self.terms.members]
        declared = tuple(
            before or any(entry is not None and not entry.balanced for entry in unit)
            for before, unit in zip(self._declared, entries, strict=True)
        )
        if declared != self._declared:
            self._declared = declared
            self.apart.logical_or_(flags(declared, self.apart.device))

    def _note_reached(self, weighed: Weighed) -> None:
        device = self.apart.device
        # A loss that is absent from this batch says nothing about whether it reaches the anchor.
        here = tuple(any(weighed.losses.scalars[i] is not None for i in of) for of in self.terms.members)
        missed = flags(tuple(not r for r in (weighed.measured.reached if weighed.measured else here)), device)
        apart = torch.where(flags(here, device), missed, self.apart)
        self.apart.copy_(apart | flags(self._declared, device))


def _keep_compiled_buffers() -> None:
    # A compiled backward donates its saved tensors unless told not to before it is first compiled;
    # a probe that starts later (every_n, warmup) then finds them gone.
    from torch._functorch import config

    config.donated_buffer = False
