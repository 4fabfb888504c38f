"""ArcFace."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Arcface(EmbeddingLoss):
    """Softmax over the cosines with a learned vector for each class, the own one's angle enlarged by ``margin``.

    Args:
        num_classes: number of classes; labels are 0 to num_classes - 1.
        embedding_size: D.
        margin: in degrees.
        scale: of the cosines, above 0.
    """

    search_space = {"margin": Interval(5.0, 45.0), "scale": Interval(8.0, 64.0, log=True)}
    use = "A closed set of classes in training, unseen ones in use (faces)."
    avoid = "Batches of which most classes are absent, with a slow optimiser: their vectors hardly move."
    citation = "Deng et al.: ArcFace, CVPR 2019, arXiv:1801.07698"

    def __init__(self, num_classes: int, embedding_size: int, margin: float = 28.6, scale: float = 64.0) -> None:
        super().__init__(
            losses.ArcFaceLoss(num_classes=num_classes, embedding_size=embedding_size, margin=margin, scale=scale)
        )
