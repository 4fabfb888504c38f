"""PolyLoss: cross-entropy with other coefficients of the powers of what is missed."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import class_labels
from autoloss.losses._tempered import powered


class Poly(Loss):
    """``m^gamma (-log p_t + e1 m + e2 m^2 + e3 m^3)``, ``m = 1 - p_t``: logits [B, C, ...], classes [B, ...] -> [B].

    ``-log p_t = m + m^2 / 2 + m^3 / 3 + ...``: e_j is what is added to the coefficient 1 / j of a power. With e2 and
    e3 of 0 it is Poly-1, of cross-entropy (gamma = 0) or of the focal loss.

    Args:
        e1: at least -1. The paper takes 2 for ImageNet and -1 for boxes of COCO.
        e2: at least -1/2.
        e3: at least -1/3.
        gamma: that of the focal loss, at least 0.
        ignore_index: a label that is left out; none by default.
    """

    takes = ("classes", "pixels")
    search_space = {
        "e1": Interval(-1.0, 6.0),
        "e2": Interval(-0.5, 6.0),
        "e3": Interval(-0.33, 6.0),
        "gamma": Interval(0.0, 5.0),
    }
    use = "One class of several, and a number of the loss to tune: e1 above 0 makes predictions more certain."
    avoid = "Nothing will be tuned: e1 = 0 is cross_entropy, and no other value is always better."
    outliers = "As in cross-entropy: -log p_t has no bound. Each e_j adds at most e_j."
    imbalance = "e1 below 0 weakens what frequent classes gain by being frequent; above 0 strengthens it."
    gradients = "Those of cross-entropy plus (e1 + 2 e2 m + 3 e3 m^2) times the slope of m, which is at most 1/4."
    citation = "Leng et al.: PolyLoss, ICLR 2022, arXiv:2204.12511"

    def __init__(
        self,
        e1: float = 1.0,
        e2: float = 0.0,
        e3: float = 0.0,
        gamma: float = 0.0,
        ignore_index: int | None = None,
    ) -> None:
        super().__init__()
        for j, e in enumerate((e1, e2, e3), start=1):
            least = "-1" if j == 1 else f"-1/{j}"
            require(e >= -1 / j, f"`e{j}` must be at least {least}: no coefficient may be below 0", f"e{j}={e}")
        require(gamma >= 0, "`gamma` must be at least 0", f"gamma={gamma}")
        self.e1, self.e2, self.e3, self.gamma, self.ignore_index = e1, e2, e3, gamma, ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        target, keep = class_labels(self, prediction, target, self.ignore_index)
        entropy = functional.cross_entropy(prediction, target, reduction="none")
        missed = -(-entropy).expm1()
        added = missed * (self.e1 + missed * (self.e2 + missed * self.e3))
        return per_sample(powered(missed, self.gamma) * (entropy + added), keep)
