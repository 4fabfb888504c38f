"""OL-AUX: auxiliary losses weighted by what their gradients did for the main ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.weighting import Weighting
from autoloss.weightings._main import Main


class OlAux(Weighting):
    """Raises the weight of an auxiliary loss while its gradient points along the main one, and otherwise lowers it.

    Main losses keep 1. With g the sum of their gradients at the anchor, each step adds ``<g, g_k>`` to
    a sum, and every ``window`` steps ``w_k <- max(0, w_k + rate * mean <g, g_k> / mean ||g||^2)``
    (algorithm 1, in units of the main gradient's square).

    Args:
        main: the main losses, one name or several.
        rate: above 0; an auxiliary gradient equal to the main one gains this much in each window.
        window: steps between two changes, at least 1; 5 in the paper.
        start: initial weight of auxiliary losses, at least 0.

    The paper's rate is in units of the model's learning rate times a squared gradient, so that it has
    to be found again for every model; here it has no unit. The authors' code averages gradients over the
    window before it multiplies them and takes logarithms of auxiliary losses; neither is done here.
    """

    weight: Tensor
    gain: Tensor
    length: Tensor
    count: Tensor
    needs = Need.VALUES | Need.GRAM
    claims = frozenset({"common_scale_invariant"})
    search_space = {"rate": Interval(1e-3, 1.0, log=True)}
    use = "One loss is the goal, and the others help at some times of training and not at others."
    avoid = "All losses matter in themselves."
    citation = "Lin et al.: Adaptive auxiliary task weighting for reinforcement learning, NeurIPS 2019"

    def __init__(self, main: str | Sequence[str], rate: float = 0.05, window: int = 5, start: float = 1.0) -> None:
        super().__init__()
        require(rate > 0, "`rate` must be above 0", f"rate={rate}")
        require(window >= 1, "`window` must be at least 1", f"window={window}")
        require(start >= 0, "`start` must be at least 0", f"start={start}")
        self.main, self.rate, self.window, self.start = Main(main), rate, window, start

    def allocate(self, size: int) -> None:
        self.main.check(self.names)
        self.add_state("weight", torch.full((size,), self.start), axes=1)
        self.add_state("gain", torch.zeros(size), axes=1)
        self.add_state("length", torch.zeros(size), axes=1)
        self.add_state("count", torch.zeros(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        return torch.where(self.main.flags(self.names, self.weight.device), 1.0, self.weight)

    def update(self, signals: Signals) -> None:
        here = (self.main.flags(self.names, self.weight.device) & signals.present).float()
        along = signals.gram @ here
        self.gain += along
        self.length += here @ along
        self.count += here.any()
        full = self.count >= self.window
        change = self.rate * self.gain / self.length.clamp(min=torch.finfo(along.dtype).tiny)
        self.weight.copy_(torch.where(full, (self.weight + change).clamp(min=0), self.weight))
        for total in (self.gain, self.length, self.count):
            total.masked_fill_(full, 0.0)
