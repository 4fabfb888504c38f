"""The multi-similarity loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class MultiSimilarity(EmbeddingLoss):
    """Sums the soft largest violations within and between classes.

    ``1/alpha log(1 + sum_p e^(-alpha (s_p - base))) + 1/beta log(1 + sum_n e^(beta (s_n - base)))``.

    Args:
        alpha: sharpness for pairs of one class, above 0.
        beta: sharpness for pairs of two classes, above 0.
        base: the cosine similarity between the two.
    """

    search_space = {"alpha": Interval(0.5, 10.0, log=True), "beta": Interval(5.0, 100.0, log=True)}
    use = "Hard pairs should count most, softly."
    avoid = "Labels are noisy: wrong labels are the hardest pairs."
    citation = "Wang et al.: Multi-similarity loss, CVPR 2019, arXiv:1904.06627"

    def __init__(self, alpha: float = 2.0, beta: float = 50.0, base: float = 0.5) -> None:
        super().__init__(losses.MultiSimilarityLoss(alpha=alpha, beta=beta, base=base))
