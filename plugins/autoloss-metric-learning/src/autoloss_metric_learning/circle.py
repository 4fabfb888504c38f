"""The circle loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Circle(EmbeddingLoss):
    """Weights each similarity by its distance from its optimum: a circular decision boundary.

    Args:
        m: relaxation of the boundary.
        gamma: scale of the similarities, above 0.
    """

    search_space = {"m": Interval(0.1, 0.5), "gamma": Interval(16.0, 256.0, log=True)}
    use = "Similarities within and between classes learn at different speeds."
    avoid = "Half precision before the loss: gamma magnifies the rounding."
    citation = "Sun et al.: Circle loss, CVPR 2020, arXiv:2002.10857"

    def __init__(self, m: float = 0.4, gamma: float = 80.0) -> None:
        super().__init__(losses.CircleLoss(m=m, gamma=gamma))
