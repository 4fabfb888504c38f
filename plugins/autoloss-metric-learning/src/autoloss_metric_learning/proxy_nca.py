"""Proxy-NCA."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class ProxyNca(EmbeddingLoss):
    """Neighbourhood component analysis against a learned proxy for each class instead of the other samples.

    Args:
        num_classes: number of classes; labels are 0 to num_classes - 1.
        embedding_size: D.
        softmax_scale: inverse temperature, above 0.
    """

    search_space = {"softmax_scale": Interval(1.0, 32.0, log=True)}
    use = "Batches too small or too mixed to hold pairs."
    avoid = "Classes that one point does not describe."
    citation = "Movshovitz-Attias et al.: No fuss distance metric learning using proxies, ICCV 2017, arXiv:1703.07464"

    def __init__(self, num_classes: int, embedding_size: int, softmax_scale: float = 1.0) -> None:
        super().__init__(
            losses.ProxyNCALoss(num_classes=num_classes, embedding_size=embedding_size, softmax_scale=softmax_scale)
        )
