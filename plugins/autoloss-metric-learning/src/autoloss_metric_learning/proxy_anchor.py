"""Proxy-Anchor."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class ProxyAnchor(EmbeddingLoss):
    """Pulls and pushes all samples of the batch from a learned proxy of each class, the harder the more.

    Its terms belong to classes, not samples: every sample gets the value of the batch.

    Args:
        num_classes: number of classes; labels are 0 to num_classes - 1.
        embedding_size: D.
        margin: in cosines.
        alpha: sharpness, above 0.
    """

    anchored = False
    search_space = {"alpha": Interval(8.0, 64.0, log=True)}
    use = "As proxy_nca, with relations between samples kept; converges fast."
    avoid = "A value for each sample is needed (sample weights, masks)."
    citation = "Kim et al.: Proxy anchor loss, CVPR 2020, arXiv:2003.13911"

    def __init__(self, num_classes: int, embedding_size: int, margin: float = 0.1, alpha: float = 32.0) -> None:
        super().__init__(
            losses.ProxyAnchorLoss(num_classes=num_classes, embedding_size=embedding_size, margin=margin, alpha=alpha)
        )
