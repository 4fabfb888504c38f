"""The focal Tversky loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.space import Interval
from autoloss.losses._overlap import Overlap, check_costs


class FocalTversky(Overlap):
    """``(1 - TI)^gamma`` of the Tversky index of each class and sample, mean over classes -> [B].

    Logits [B, C, ...] with classes [B, ...] take a softmax, logits and 0/1 targets of one shape a
    sigmoid. gamma = 1 is tversky.

    Args:
        gamma: the power, above 0: below 1, classes that are nearly right still count; above 1, they
            count less. The paper writes ``1 / gamma`` with gamma = 4/3: that is 0.75 here.
        alpha: what a false positive costs, at least 0.
        beta: what a false negative costs, at least 0.
        smooth: s, at least 0.
        ignore_index: a label whose pixels are left out; none by default.
        class_weights: shares of the classes in the mean, at least 0 (such as 0 for the background); equal by default.

    segmentation_models.pytorch takes the power of the mean over classes.
    """

    search_space = {"gamma": Interval(0.5, 3.0), "beta": Interval(0.1, 1.0)}
    use = "Segmentation of small regions of which tversky finds only a part."
    avoid = "Labels are noisy at the edges: with gamma below 1 the last wrong pixels have the largest gradients."
    outliers = "gamma above 1 stresses the worst classes, wrongly labelled ones among them."
    imbalance = "As in tversky; gamma > 1 stresses the hard classes, gamma < 1 those that are nearly right."
    gradients = "Those of tversky times gamma (1 - TI)^(gamma - 1): large near a perfect answer for gamma < 1."
    citation = "Abraham, Khan: A novel focal Tversky loss function, ISBI 2019, arXiv:1810.07842"

    def __init__(
        self,
        gamma: float = 0.75,
        alpha: float = 0.3,
        beta: float = 0.7,
        smooth: float = 1.0,
        ignore_index: int | None = None,
        class_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(smooth, ignore_index, class_weights)
        require(gamma > 0, "`gamma` must be above 0", f"gamma={gamma}")
        check_costs(alpha, beta)
        self.gamma, self.alpha, self.beta = gamma, alpha, beta

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        index = self.index(prediction, target, self.alpha, self.beta, self.smooth)
        # The slope of 0^gamma is infinite for gamma < 1.
        return self.over_classes((1 - index).clamp(min=1e-7) ** self.gamma)
