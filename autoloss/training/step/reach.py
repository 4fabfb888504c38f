"""Says when a loss that reached the anchor does not any more."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

from torch import Tensor

from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.core.terms import Terms


class Reach:
    """Remembers which units reached the anchor, and warns the first time that one of them is there and does not.

    What a loss depends on is known on the host: nothing here waits for a device.
    """

    def __init__(self, terms: Terms) -> None:
        self.terms = terms
        self._before: set[str] = set()
        self._said: set[str] = set()

    def here(self, losses: Reduced) -> Tensor:
        """Which units this rank has losses of, [K] bool."""
        known = tuple(any(losses.scalars[i] is not None for i in of) for of in self.terms.members)
        return flags(known, losses.values.device)

    def see(
        self, scalars: Sequence[Tensor | None], reached: Sequence[bool], declared: Sequence[bool], step: int
    ) -> None:
        """Compare the units that ``reached`` the anchor [K] with those before; ``scalars`` [N] are the losses."""
        # A fork cannot tell whether a loss reaches it while its base weight is 0.
        shown = [scalar is not None and base != 0 for scalar, base in zip(scalars, self.terms.base, strict=True)]
        pairs = zip(self.terms.units, self.terms.members, reached, declared, strict=True)
        for unit, members, here, unbalanced in pairs:
            if here:
                self._before.add(unit)
            elif unit in self._before - self._said and not unbalanced and any(shown[i] for i in members):
                self._said.add(unit)
                warnings.warn(
                    f"Loss {unit!r} should reach the anchor as before, but at step {step} it does not: it keeps its "
                    "base weight there. Compute it from the anchor; pass None where there is nothing to compare.",
                    stacklevel=2,
                )
