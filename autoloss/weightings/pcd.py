"""Priority-constrained descent: one main loss, and a share of progress for each other."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import check_known, require
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.weightings.solvers.pivoting import complementary
from autoloss.weightings.solvers.prepared import GramWeighting, Prepared

# How far beyond its share a loss may be left, relative to the largest gradient, where all can have theirs.
MISSED = 1e-3


class Pcd(GramWeighting):
    """Follows the main loss's gradient as closely as every other loss still gets a share of its own progress.

    With ``n_k = g_k / sqrt(v_k)``, where ``v_k`` is the mean of ``|g_k|^2`` over steps, d is the nearest vector to
    ``n_main`` with ``<n_j, d> >= tau_j |n_j|^2`` for each other loss j (eq. 3), made as long as ``g_main``. Its weights
    are the multipliers of these conditions: a loss that gets its share anyway has the weight 0. With ``tau`` 0 no step
    raises a loss; with 1 each goes down as fast as it would alone.

    Args:
        main: the loss that is the goal; the first if ``None``.
        tau: the share of progress of each other loss, in [0, 1]; or by loss name, 0 where left out.
        beta: decay of the means of squared norms, in [0, 1).

    If not all losses can have their share at once (opposite gradients), d is the main loss's gradient, as in the paper.
    Without the main loss, or where its gradient is 0, the weights are 1; in the paper d is 0 there. A loss that comes
    late begins its own mean. The paper adds 1e-8 to v; here nothing is added, so that a common scale does not matter.
    Solved exactly by pivoting; the authors' code tries all sets of conditions. Waits once for the device.
    """

    squares: Tensor
    seen: Tensor
    claims = frozenset({"common_scale_invariant"})
    search_space = {"tau": Interval(0.0, 0.5)}
    use = "One loss is the goal, and no other may fall behind: auxiliary losses, fairness, a pretrained skill."
    avoid = "Every loss matters alike (upgrad), or a loss has a bound of its own (constraints)."
    citation = "Not all objectives are born equal: Priority-constrained descent, TMLR 2026, arXiv:2606.29521"

    def __init__(self, main: str | None = None, tau: float | Mapping[str, float] = 0.02, beta: float = 0.999) -> None:
        super().__init__()
        numbers = list(tau.values()) if isinstance(tau, Mapping) else [tau]
        require(all(0 <= one <= 1 for one in numbers), "`tau` must lie in [0, 1]", f"tau={tau}")
        require(0 <= beta < 1, "`beta` must lie in [0, 1)", f"beta={beta}")
        self.main, self.tau, self.beta = main, tau, beta

    def allocate(self, size: int) -> None:
        check_known("loss", () if self.main is None else (self.main,), self.names)
        self._first = 0 if self.main is None else self.names.index(self.main)
        given = self.tau if isinstance(self.tau, Mapping) else dict.fromkeys(self.names, self.tau)
        main = self.names[self._first]
        rule = "`tau` must name losses beside the main one, which is followed as it is"
        require(not isinstance(self.tau, Mapping) or main not in given, rule, f"it names {main!r}", "Leave it out.")
        self._taus = self.per_loss(given, missing=0.0).double()
        self.add_state("squares", torch.zeros(size), axes=1)
        self.add_state("seen", torch.zeros(size), axes=1)

    def solve(self, prepared: Prepared, signals: Signals) -> Tensor:
        index, cosines = prepared.index, prepared.cosines
        main, others = index == self._first, index != self._first
        if not main.any() or not others.any():
            return torch.ones_like(prepared.norms)
        # In units of the gradients' own lengths: n_k is `long` times its direction.
        norms = prepared.norms * prepared.scale
        squares, seen = self.squares.cpu().double()[index], self.seen.cpu().double()[index] + 1
        mean = torch.lerp(norms.square(), squares, self.beta) / (1 - self.beta**seen)
        long, found = norms / mean.sqrt(), torch.zeros_like(norms)
        found[main] = long[main]
        shares = self._taus[index] * long
        offset = (cosines[:, main] @ long[main] - shares)[others]
        within = prepared.definite()[others][:, others]
        found[others] = complementary(within, offset[None])[0]
        if ((cosines @ found - shares)[others] < -MISSED * long.amax()).any():
            found[others] = 0.0
        length = (found @ cosines @ found).clamp(min=0).sqrt()
        # Where the others cancel the main loss, there is nothing to lengthen.
        return found / norms * norms[main] / length.clamp(min=MISSED * float(long[main]))

    def update(self, signals: Signals) -> None:
        self.squares.lerp_(signals.gram.diagonal(), 1 - self.beta)
        self.seen.add_(1)
