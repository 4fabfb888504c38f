"""FastAP."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class FastAp(EmbeddingLoss):
    """One minus the average precision of each sample's ranking of the others, by histograms of distances.

    Args:
        num_bins: bins of the histogram, at least 2.
    """

    use = "Retrieval, measured by average precision."
    avoid = "Tiny batches: their histograms are coarse."
    citation = "Cakir et al.: Deep metric learning to rank, CVPR 2019"

    def __init__(self, num_bins: int = 10) -> None:
        super().__init__(losses.FastAPLoss(num_bins=num_bins))
