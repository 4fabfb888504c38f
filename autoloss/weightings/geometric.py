"""The geometric mean of the losses (GLS)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Scalarization


class Geometric(Scalarization):
    """Minimises the geometric mean of the losses: ``S = (prod_k L_k)^(1/K)``, so ``w_k = S / (K L_k)``.

    With ``focus`` on m of them, S is multiplied by their own geometric mean, and
    ``w_k = S (1/K + [k in focus] / m) / L_k`` (focused GLS). K and m count present losses.

    Args:
        focus: names of the losses that count a second time; none by default.

    Computed from logarithms, since a plain product under- or overflows. A loss below 1e-20 counts as
    1e-20. The focused form is from secondary sources. LibMTL logs ``L_k / (K prod L)`` as the
    weight, which is inverted.
    """

    focused: Tensor
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    positive = True
    use = "Losses of different scales: a factor on one of them scales the gradient and does not turn it."
    avoid = "A loss reaches 0: the others' weights then go to 0 too. Losses may be negative."
    citation = "Chennupati et al.: MultiNet++, CVPR workshops 2019, arXiv:1904.08492"

    def __init__(self, focus: Sequence[str] = ()) -> None:
        super().__init__()
        self.focus = tuple(focus)

    def allocate(self, size: int) -> None:
        self.register_buffer("focused", self.per_loss(dict.fromkeys(self.focus, 1.0), missing=0.0), persistent=False)

    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        return (self._powers(signals) * values.clamp(min=1e-20).log()).sum().exp()

    def forward(self, signals: Signals) -> Tensor:
        return self.scalar(signals.values, signals) * self._powers(signals) / signals.values.clamp(min=1e-20)

    def _powers(self, signals: Signals) -> Tensor:
        focused = self.focused * signals.present
        return torch.where(signals.present, 1.0 / signals.count, 0.0) + focused / focused.sum().clamp(min=1.0)
