"""Auto-Lambda: the weights themselves are learned from held-out data."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require, unknown
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.core.weighting import Weighting

VARIANTS = ("softmax", "raw")


class AutoLambda(Weighting):
    """Learns weights that make each optimiser step lower the losses of held-out data.

    After each step, ``t_k = -d L_held(p') / d w_k``, with p' the parameters that the step led to and
    L_held the held-out objective of the primary losses, and the weights' own Adam takes a step up t. The objective is
    the sum of their logarithms (``held_out.objective=log``), so that a change of each loss counts by its ratio, or
    their sum (``sum``, eq. 6), in which a loss of 0.02 hardly counts beside one of 0.5.
    ``softmax``: ``w = K softmax(z)``, z starts at 0. ``raw``: w itself, kept at or above 0.

    Args:
        lr: learning rate of the weights' Adam, above 0; 0.0001 in the paper, for raw weights.
        variant: ``softmax`` or ``raw``.
        start: initial raw weight, above 0; 0.1 in the paper. The sum of raw weights is not fixed.

    The paper and its code differentiate a virtual copy of the model by finite differences, four forwards
    and two backwards; here t is exact, of the real step through the real optimiser (Adam's Jacobian
    included), at the price of a held-out step and one forward-mode pass. Where gradients are clipped, t has
    the factor of clipping, as a constant: its own dependence on w is left out. The paper's weights may
    become negative, and its objective is the sum; its held-out batches come from the training data
    (``held_out.source=train``), ours by default from a share kept for it.
    """

    value: Tensor
    needs = Need.VALUES | Need.ALIGNMENT
    claims = frozenset({"permutation_equivariant"})
    search_space = {"lr": Interval(1e-3, 1e-1, log=True)}
    use = "Some losses matter in themselves and the others only help: name the primary ones."
    avoid = (
        "No data can be held out, or a step must not cost as much as three. For losses of unlike scale equal weights "
        "are a poor start: wrap it in from_auto."
    )
    citation = "Liu, James, Davison, Johns: Auto-Lambda, TMLR 2022, arXiv:2202.03091"

    def __init__(self, lr: float = 0.03, variant: str = "softmax", start: float = 1.0) -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(start > 0, "`start` must be above 0", f"start={start}")
        if variant not in VARIANTS:
            raise unknown("variant", variant, VARIANTS)
        self.raw, self.start = variant == "raw", start
        # Alignments contain the model's learning rate: they may be far below Adam's usual eps.
        self.adam = AdamState(lr, eps=1e-15)

    def allocate(self, size: int) -> None:
        self.add_state("value", torch.full((size,), self.start if self.raw else 0.0), axes=1)
        self.adam.allocate(size)

    def forward(self, signals: Signals) -> Tensor:
        return self.value.clone() if self.raw else signals.softmax(self.value) * signals.count

    def update(self, signals: Signals) -> None:
        if self.raw:
            self.adam.step(self.value, -signals.alignment)
            self.value.clamp_(min=0)
            return
        self.adam.step(self.value, -uphill(self.value, signals))


def uphill(logits: Tensor, signals: Signals) -> Tensor:
    """The gradient [K] of ``sum_k t_k softmax(logits)_k``, with the alignments t of ``signals`` held constant."""
    share, gain = signals.softmax(logits), signals.alignment
    return share * (gain - (share * gain).sum())
