"""CosFace."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Cosface(EmbeddingLoss):
    """Softmax over the cosines with a learned vector for each class, the own one's cosine lowered by ``margin``.

    Args:
        num_classes: number of classes; labels are 0 to num_classes - 1.
        embedding_size: D.
        margin: in cosines.
        scale: of the cosines, above 0.
    """

    search_space = {"margin": Interval(0.05, 0.5), "scale": Interval(8.0, 64.0, log=True)}
    use = "As arcface, where its angles make training unstable at first."
    avoid = "As arcface."
    citation = "Wang et al.: CosFace, CVPR 2018, arXiv:1801.09414"

    def __init__(self, num_classes: int, embedding_size: int, margin: float = 0.35, scale: float = 64.0) -> None:
        super().__init__(
            losses.CosFaceLoss(num_classes=num_classes, embedding_size=embedding_size, margin=margin, scale=scale)
        )
