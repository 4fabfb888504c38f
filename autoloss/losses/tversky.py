"""The Tversky loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autoloss.core.space import Interval
from autoloss.losses._overlap import Overlap, check_costs


class Tversky(Overlap):
    """``1 - (TP + s) / (TP + alpha FP + beta FN + s)`` of soft counts for each sample, mean over classes -> [B].

    Logits [B, C, ...] with classes [B, ...] take a softmax, logits and 0/1 targets of one shape a
    sigmoid. alpha = beta = 0.5 is dice (with twice the smoothing), alpha = beta = 1 jaccard.

    Args:
        alpha: what a false positive costs, at least 0.
        beta: what a false negative costs, at least 0; above alpha it favours recall.
        smooth: s, at least 0.
        ignore_index: a label whose pixels are left out; none by default.
        class_weights: shares of the classes in the mean, at least 0 (such as 0 for the background); equal by default.
    """

    search_space = {"alpha": Interval(0.1, 1.0), "beta": Interval(0.1, 1.0)}
    use = "Segmentation where a miss is worse than a false alarm, or the other way round."
    avoid = "Both mistakes cost the same (dice); calibrated probabilities are wanted (cross_entropy)."
    outliers = "A wrongly labelled pixel counts by its share of the region."
    imbalance = "Classes count equally; beta above alpha finds more of rare regions, with more false alarms."
    gradients = "As in dice; a larger beta favours recall. They vanish for regions missed with certainty."
    citation = "Salehi, Erdogmus, Gholipour: Tversky loss function, MLMI 2017, arXiv:1706.05721"

    def __init__(
        self,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        ignore_index: int | None = None,
        class_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(smooth, ignore_index, class_weights)
        check_costs(alpha, beta)
        self.alpha, self.beta = alpha, beta

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        return self.over_classes(1 - self.index(prediction, target, self.alpha, self.beta, self.smooth))
