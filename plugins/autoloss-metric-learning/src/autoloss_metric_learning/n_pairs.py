"""The N-pairs loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class NPairs(EmbeddingLoss):
    """One pair of each class: the cross-entropy of picking one's own partner, by inner product, among all partners."""

    use = "Many classes with two samples each."
    avoid = "Few classes: all but one pair of each is left out, and their samples get 0."
    citation = "Sohn: Improved deep metric learning with multi-class N-pair loss, NeurIPS 2016"

    def __init__(self) -> None:
        super().__init__(losses.NPairsLoss())
