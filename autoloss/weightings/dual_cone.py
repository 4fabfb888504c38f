"""Dual cone gradient descent."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require, unknown
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared

# A sum of gradients whose square is below this part of theirs is what a float32 Gram matrix leaves of their rounding.
ROUNDING = 1e-6
VARIANTS = ("center", "projection", "average")


class DualCone(GramWeighting):
    """Keeps the step in the dual cone of two gradients: the residual's r and that of the other losses' sum b.

    Neither may rise: ``<d, r> >= 0`` and ``<d, b> >= 0``. With ``g = r + b``:

    - ``center``: g projected on the bisector, ``d = (||r|| + ||b||) / 2 (r / ||r|| + b / ||b||)``, in each step.
    - ``projection``: g; where it would raise one of the two, that one's direction is taken out of it.
    - ``average``: g; where it would raise one of the two, the mean of g without the direction of r and g without that
      of b.

    So the residual has one weight and all the others have another. Of several boundary losses a single one may rise.

    Args:
        reference: the name of the residual's loss; the first if it is not given.
        variant: one of the above.

    Where the reference has no gradient, or the others' sum has none, all weights are 1. The authors stop where both
    gradients are opposite, since no direction helps there; here training goes on. Waits once for the device.
    """

    claims = frozenset({"common_scale_invariant"})
    search_space = {"variant": Choice(VARIANTS)}
    use = "Physics-informed networks: a residual that hides the boundary losses, or works against them."
    avoid = "No loss is a natural reference; the boundary losses work against each other (chebyshev_center)."
    citation = (
        "Hwang, Lim: Dual cone gradient descent for training physics-informed neural networks, NeurIPS 2024, "
        "arXiv:2409.18426"
    )

    def __init__(self, reference: str | None = None, variant: str = "center") -> None:
        super().__init__()
        require(variant in VARIANTS, f"`variant` must be one of {', '.join(VARIANTS)}", f"variant={variant!r}")
        self.reference, self.variant = reference, variant

    def allocate(self, size: int) -> None:
        if self.reference is not None and self.reference not in self.names:
            raise unknown("loss", self.reference, self.names)

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        at = signals.names.index(self.reference) if self.reference is not None else 0
        first = (prepared.index == at).double()
        of_two = torch.stack([first, 1 - first])
        (rr, rb), (_, bb) = (of_two @ prepared.gram @ of_two.T).tolist()
        others = float(((1 - first) * prepared.norms**2).sum())
        if not 0 < first.sum() < len(first) or bb <= ROUNDING * others:
            return torch.ones_like(first)
        return torch.tensor(self._pair(rr, bb, rb), dtype=torch.float64) @ of_two

    def _pair(self, rr: float, bb: float, rb: float) -> tuple[float, float]:
        """The weights of r and b, from their inner products."""
        if self.variant == "center":
            length = (rr**0.5 + bb**0.5) / 2
            return length / rr**0.5, length / bb**0.5
        if rr + rb >= 0 and bb + rb >= 0:
            return 1.0, 1.0
        if self.variant == "average":
            return (1 - rb / rr) / 2, (1 - rb / bb) / 2
        return (-rb / rr, 1.0) if rr + rb < 0 else (1.0, -rb / bb)
