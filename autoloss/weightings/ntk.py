"""Weights by the neural tangent kernel."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.core.weighting import Weighting


class Ntk(Weighting):
    """Weights each loss so that all residuals fall at one rate: ``w_k = mean_j t_j / t_k``.

    t_k is the trace of the loss's neural tangent kernel over the number of its samples: the mean of ``||dr_i/dp||^2``
    at the anchor p, which should be parameters. It says how fast gradient descent lowers the residuals r_i. The sum is
    not fixed.

    Args:
        every: steps between two measurements, at least 1.
        decay: how much of the mean of t stays at each measurement, in [0, 1).

    The trace is estimated by one random probe for each loss and smoothed; authors compute it exactly, from the gradient
    of each sample. The paper's trace is a sum over samples and its numerator the trace of the whole kernel; means, as
    in the authors' later code, make weights that do not depend on the number of points. A loss must be the square of a
    residual, with a value for each sample; weights of samples count.
    """

    traces: Tensor
    mass: Tensor
    needs = Need.VALUES | Need.GRAM | Need.KERNEL
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"decay": Choice((0.0, 0.9))}
    use = "Physics-informed networks: losses whose residuals fall at very different rates."
    avoid = "A loss is no squared residual; the losses conflict in direction and not in size."
    citation = (
        "Wang, Yu, Perdikaris: When and why PINNs fail to train: a neural tangent kernel perspective, JCP 2022, "
        "arXiv:2007.14527; Wang, Sankaran, Wang, Perdikaris: An expert's guide, 2023, arXiv:2308.08468"
    )

    def __init__(self, every: int = 100, decay: float = 0.9) -> None:
        super().__init__()
        require(every >= 1, "`every` must be at least 1", f"every={every}")
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.every, self.decay = every, decay

    def needs_at(self, step: int) -> Need:
        return self.needs if step % self.every == 0 else Need.VALUES

    def allocate(self, size: int) -> None:
        self.add_state("traces", torch.zeros(size), axes=1)
        self.add_state("mass", torch.zeros(size), axes=1)  # what the mean would be if every trace were 1

    def forward(self, signals: Signals) -> Tensor:
        traces, mass = self._moved(signals)
        known = signals.present & (traces > 0)
        mean = torch.where(known, traces / mass.clamp(min=torch.finfo(mass.dtype).tiny), 0.0)
        whole = mean.sum() / known.sum().clamp(min=1)
        return torch.where(known, whole / mean.clamp(min=torch.finfo(mean.dtype).tiny), 1.0)

    def update(self, signals: Signals) -> None:
        if signals.step % self.every == 0:
            for state, value in zip((self.traces, self.mass), self._moved(signals), strict=True):
                state.copy_(value)

    def _moved(self, signals: Signals) -> tuple[Tensor, Tensor]:
        if signals.step % self.every:
            return self.traces, self.mass
        kept = torch.where(signals.present, self.decay, 1.0)
        return self.traces * kept + signals.kernel * (1 - kept), self.mass * kept + (1 - kept)
