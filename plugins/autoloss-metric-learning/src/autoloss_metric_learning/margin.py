"""The margin loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class Margin(EmbeddingLoss):
    """Wants distances within one class below ``beta - margin``, between classes above ``beta + margin``.

    Args:
        margin: at least 0.
        nu: weight of beta in the loss, if it is learned.
        beta: the boundary.
        triplets_per_anchor: how many triplets of each anchor are drawn, or ``all``.
        learn_beta: learn beta with the network.
        num_classes: a beta for each of so many classes, or one for all.
    """

    search_space = {"margin": Interval(0.05, 0.5), "beta": Interval(0.6, 1.6)}
    use = "The triplet loss collapses or stalls."
    avoid = "Large batches with triplets_per_anchor=all: their number grows with the cube."
    citation = "Wu et al.: Sampling matters in deep embedding learning, ICCV 2017, arXiv:1706.07567"

    def __init__(
        self,
        margin: float = 0.2,
        nu: float = 0.0,
        beta: float = 1.2,
        triplets_per_anchor: int | str = "all",
        learn_beta: bool = False,
        num_classes: int | None = None,
    ) -> None:
        super().__init__(
            losses.MarginLoss(
                margin=margin,
                nu=nu,
                beta=beta,
                triplets_per_anchor=triplets_per_anchor,
                learn_beta=learn_beta,
                num_classes=num_classes,
            )
        )
