"""The lifted structure loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class LiftedStructure(EmbeddingLoss):
    """Sets each pair of one class against all negatives of both, softly.

    ``1/2 [log sum_n e^(neg_margin - d_n) + d_ap - pos_margin]_+^2``.

    Args:
        neg_margin: margin of pairs of two classes.
        pos_margin: margin of pairs of one class.
    """

    search_space = {"neg_margin": Interval(0.2, 2.0)}
    use = "Small batches: each pair sees every negative."
    avoid = "Large batches: pairs times negatives are in memory at once."
    citation = "Oh Song et al.: Lifted structured feature embedding, CVPR 2016, arXiv:1511.06452"

    def __init__(self, neg_margin: float = 1.0, pos_margin: float = 0.0) -> None:
        super().__init__(losses.LiftedStructureLoss(neg_margin=neg_margin, pos_margin=pos_margin))
