"""The squared hinge loss, for two classes or several."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._margin import shortfall


class SquaredHinge(Loss):
    """The square of how far scores fall short of the margin: ``hinge^2``, before any mean.

    Two classes: ``max(0, m - y f)^2`` with scores f [B, ...] and y in {0, 1} or {-1, 1} -> [B].
    Several (scores [B, C, ...], classes [B, ...]): ``max(0, m + max_{j != y} f_j - f_y)^2`` -> [B].

    Args:
        margin: m, above 0.
    """

    takes = ("binary", "classes", "pixels")
    search_space = {"margin": Interval(0.1, 10.0, log=True)}
    use = "Classification by margin with a smooth approach to it; L2 support vector machines."
    avoid = "Labels are noisy: a wrong one pulls in proportion to the score (hinge)."
    outliers = "They dominate: a wrong label costs the square of its distance."
    imbalance = "Only samples within the margin count: easy ones of a frequent class cost nothing."
    gradients = "Proportional to the distance from the margin; 0 beyond it."
    citation = "Lee, Lin: A study on L2-loss (squared hinge-loss) multiclass SVM, Neural Computation 2013"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        require(margin > 0, "`margin` must be above 0", f"margin={margin}")
        self.margin = margin

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return per_sample(shortfall(self, prediction, target, self.margin).square())
