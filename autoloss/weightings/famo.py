"""FAMO: fast adaptive multitask optimisation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.weighting import Weighting


class Famo(Weighting):
    """Learns weights under which all losses fall at the same relative rate, from the effect of one step on them.

    ``w_k = K c z_k / D_k`` with ``z = softmax(xi)``, ``D_k = L_k - b_k`` and ``c = 1 / sum(z / D)``.
    After the optimiser's step the same batch is evaluated again: ``delta_k = log D_k(before) -
    log D_k(after)``, and xi takes a step down ``(diag(z) - z z^T) delta`` with decay gamma. The step is Adam's, as
    in the authors' code; algorithm 1 has plain gradient descent. The weights sum to K, not to 1 as in the paper.

    Args:
        gamma: decay of xi, at least 0; 0.001 to 0.01 in the authors' runs.
        lr: learning rate of xi, above 0.
        lowest: b, a lower bound of each loss by name, 0 for others; a loss below it is an error.

    "Before" and "after" see the same dropout masks and the same batch statistics, and the second
    evaluation changes no running statistics: otherwise delta would contain noise. The authors clip the
    model's gradient norm at 1; here you do that, or the Trainer.
    """

    xi: Tensor
    bound: Tensor
    needs = Need.VALUES | Need.LOOKAHEAD
    positive = True
    remedy = "Give a lower bound of that loss in `lowest`"
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    search_space = {"gamma": Interval(1e-5, 1e-1, log=True)}
    use = "Many tasks of different scales, where K passes for gradients cost too much."
    avoid = "Losses reach 0 or fall below their bound."
    citation = "Liu, Feng, Stone, Liu: FAMO, NeurIPS 2023, arXiv:2306.03792"

    def __init__(self, gamma: float = 0.001, lr: float = 0.025, lowest: Mapping[str, float] = {}) -> None:
        super().__init__()
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        self.given = dict(lowest)
        self.adam = AdamState(lr, weight_decay=gamma)

    def allocate(self, size: int) -> None:
        self.add_state("xi", torch.zeros(size), axes=1)
        self.register_buffer("bound", self.per_loss(self.given, missing=0.0), persistent=False)
        self.adam.allocate(size)

    def least(self) -> tuple[float, ...]:
        return tuple(float(self.given.get(name, 0.0)) for name in self.names)

    def forward(self, signals: Signals) -> Tensor:
        share = signals.softmax(self.xi) / self._above(signals.values)
        return signals.sum_to_count(share)

    def update(self, signals: Signals) -> None:
        fall = self._above(signals.values).log() - self._above(signals.after).log()
        z = signals.softmax(self.xi)
        fall = fall.where(signals.present, fall.new_zeros(()))
        self.adam.step(self.xi, z * (fall - (z * fall).sum()))

    def _above(self, values: Tensor) -> Tensor:
        return (values - self.bound).clamp(min=1e-30)
