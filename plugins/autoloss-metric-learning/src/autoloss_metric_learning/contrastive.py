"""The contrastive loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Contrastive(EmbeddingLoss):
    """Pulls pairs of one class within ``pos_margin`` and pushes others beyond ``neg_margin``, by Euclidean distance
    of normalised embeddings.

    Args:
        pos_margin: distance below which a pair of one class costs nothing.
        neg_margin: distance above which a pair of two classes costs nothing.
    """

    search_space = {"neg_margin": Interval(0.2, 1.5)}
    use = "A first choice for embeddings; few parameters."
    avoid = "Most pairs are easy already: only those above 0 count, and few remain."
    citation = "Hadsell, Chopra, LeCun: Dimensionality reduction by learning an invariant mapping, CVPR 2006"

    def __init__(self, pos_margin: float = 0.0, neg_margin: float = 1.0) -> None:
        super().__init__(losses.ContrastiveLoss(pos_margin=pos_margin, neg_margin=neg_margin))
