"""Fixed weights from the gradients of the first steps."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Choice
from autoloss.core.weighting import Weighting


class Autoscale(Weighting):
    """Equal weights for ``steps`` steps, then fixed ones that make the gradients equally long: ``w_k = c / m_k``.

    m_k is the geometric mean of the norms of loss k's gradient at every ``every``-th of those steps; the weights sum to
    the number of losses. Nothing is measured afterwards. Without an anchor m_k is the geometric mean of ``|L_k|``.

    Args:
        steps: of the exploration, at least 1. A shorter training keeps equal weights throughout.
        every: steps between two measurements, at least 1.
        widest: no weight is more than so many times the smallest one, above 1.

    The paper chooses fixed weights in an exploration, too, by metrics of the gradients that it finds good weights to
    share: similar lengths, a low condition number, similar loss scales. Of these, lengths are used here, since their
    best weights are known without a search.
    """

    total: Tensor
    number: Tensor
    needs = Need.VALUES | Need.GRAM
    optional = Need.GRAM
    claims = frozenset({"sums_to_count", "permutation_equivariant"})
    search_space = {"steps": Choice((50, 200, 1000))}
    use = "Weights that are to stay fixed, without a search for them: one short exploration at the start."
    avoid = "Gradients change much after the first steps; one loss is to stay small (name it in unbalanced)."
    citation = "Yang et al.: AutoScale, 2025, arXiv:2508.13979"

    def __init__(self, steps: int = 200, every: int = 10, widest: float = 100.0) -> None:
        super().__init__()
        require(steps >= 1, "`steps` must be at least 1", f"steps={steps}")
        require(every >= 1, "`every` must be at least 1", f"every={every}")
        require(widest > 1, "`widest` must be above 1", f"widest={widest}")
        self.steps, self.every, self.widest = steps, every, widest

    def needs_at(self, step: int) -> Need:
        return self.needs if self._measures(step) else Need.VALUES

    def allocate(self, size: int) -> None:
        self.add_state("total", torch.zeros(size), axes=1)
        self.add_state("number", torch.zeros(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        if signals.step < self.steps:
            return signals.present.float()
        known = signals.present & (self.number > 0)
        height = torch.where(known, self.total / self.number.clamp(min=1), 0.0)
        # A loss that was never measured has the mean of the others.
        height = torch.where(known, height, height.sum() / known.sum().clamp(min=1))
        highest = torch.where(signals.present, height, -torch.inf).amax()
        return signals.sum_to_count(torch.exp(highest - height).clamp(max=self.widest))

    def update(self, signals: Signals) -> None:
        if not self._measures(signals.step):
            return
        gram = signals.measured_gram
        sizes = signals.values.abs() if gram is None else gram.diagonal().clamp(min=0).sqrt()
        here = signals.present & (sizes > 0)
        self.total.add_(torch.where(here, sizes, 1.0).log())
        self.number.add_(here)

    def _measures(self, step: int) -> bool:
        return step < self.steps and step % self.every == 0
