"""Which units are not balanced: named by the user, or found not to reach the anchor."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import check_known
from autoloss.core.table import Entry, LossTable
from autoloss.core.tensors.constants import flags
from autoloss.core.tensors.state import StateModule
from autoloss.core.terms import Terms


class UnbalancedUnits(StateModule):
    """The state ``unbalanced`` [K], 1 where a unit keeps its base weight; ``declared``: what the user named."""

    terms: Terms
    unbalanced: Tensor
    renamed = {"apart": "unbalanced"}  # of 0.1.0

    def add_unbalanced(self, names: Sequence[str]) -> None:
        """Add the state; the user named ``names``."""
        check_known("loss", names, self.terms.units)
        self.declared = tuple(unit in names for unit in self.terms.units)
        # Numbers, because an average over models averages all buffers, and it cannot average bools.
        self.add_state("unbalanced", torch.tensor(self.declared, dtype=torch.float32))

    @property
    def kept(self) -> Tensor:
        """Which units keep their base weight, [K] bool."""
        return self.unbalanced > 0.5

    @property
    def declared_units(self) -> list[str]:
        """The units that keep their base weight because the user, or the problem, says so."""
        return [unit for unit, declared in zip(self.terms.units, self.declared, strict=True) if declared]

    def declare(self, table: LossTable) -> None:
        """Note the units that ``table`` declares not to be balanced."""
        if all(not isinstance(entry, Entry) or entry.balanced for entry in table.entries.values()):
            return
        entries = [[table.entry(self.terms.names[i]) for i in members] for members in self.terms.members]
        declared = tuple(
            before or any(entry is not None and not entry.balanced for entry in unit)
            for before, unit in zip(self.declared, entries, strict=True)
        )
        if declared != self.declared:
            self.declared = declared
            self.unbalanced.logical_or_(flags(declared, self.unbalanced.device))

    def note_reached(self, present: Tensor, reached: Tensor) -> None:
        """Note which of the ``present`` units ([K] bool) ``reached`` the anchor."""
        # Whether an absent loss reaches the anchor cannot be seen in this batch.
        unbalanced = torch.where(present, ~reached, self.unbalanced)
        self.unbalanced.copy_(unbalanced.logical_or(flags(self.declared, unbalanced.device)))
