"""The hinge loss, for two classes or several."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._margin import shortfall


class Hinge(Loss):
    """How far scores fall short of the margin.

    Two classes: ``max(0, m - y f)`` with scores f [B, ...] and y in {0, 1} or {-1, 1} -> [B].
    Several (scores [B, C, ...], classes [B, ...], Crammer and Singer 2001):
    ``max(0, m + max_{j != y} f_j - f_y)`` -> [B].

    Args:
        margin: m, above 0.

    torch's ``multi_margin_loss`` is another loss for several classes: a mean over all wrong classes.
    """

    takes = ("binary", "classes", "pixels")
    search_space = {"margin": Interval(0.1, 10.0, log=True)}
    unlearnable = ("margin",)
    use = "Classification by margin; right answers beyond it cost nothing."
    avoid = "Calibrated probabilities are wanted (cross_entropy)."
    outliers = "A wrong label has a gradient of size 1, however wrong the score is."
    imbalance = "Only samples within the margin count: easy ones of a frequent class cost nothing."
    gradients = "Of size 1 or 0: they do not shrink towards the margin, and are 0 beyond it."
    citation = "Cortes, Vapnik: Support-vector networks, 1995; Crammer, Singer: JMLR 2001"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        require(margin > 0, "`margin` must be above 0", f"margin={margin}")
        self.margin = margin

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_sample(shortfall(self, prediction, target, self.margin))
