"""The angular loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Angular(EmbeddingLoss):
    """Bounds the angle at the negative in the triangle of anchor, positive and negative.

    Args:
        alpha: the largest angle, in degrees.
    """

    search_space = {"alpha": Interval(30.0, 55.0)}
    use = "Classes of very different spread: angles do not depend on scale."
    avoid = "Large batches: pairs times samples are in memory at once."
    citation = "Wang et al.: Deep metric learning with angular loss, ICCV 2017, arXiv:1708.01682"

    def __init__(self, alpha: float = 40.0) -> None:
        super().__init__(losses.AngularLoss(alpha=alpha))
