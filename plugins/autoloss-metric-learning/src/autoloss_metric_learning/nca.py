"""Neighbourhood component analysis."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Nca(EmbeddingLoss):
    """Minus the log-probability that a neighbour, drawn by softmax of minus the squared distance, is of one's class.

    Args:
        softmax_scale: inverse temperature, above 0.
    """

    search_space = {"softmax_scale": Interval(0.5, 32.0, log=True)}
    use = "Nearest neighbours will classify."
    avoid = "A class has one sample in the batch: it has no neighbour, and is left out."
    citation = "Goldberger et al.: Neighbourhood components analysis, NeurIPS 2004"

    def __init__(self, softmax_scale: float = 1.0) -> None:
        super().__init__(losses.NCALoss(softmax_scale=softmax_scale))
