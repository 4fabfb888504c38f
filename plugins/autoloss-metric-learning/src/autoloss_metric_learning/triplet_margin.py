"""The triplet loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class TripletMargin(EmbeddingLoss):
    """Wants the other class farther from the anchor than its own: ``[d_ap - d_an + margin]_+``.

    Args:
        margin: at least 0, in distances of normalised embeddings.
        swap: use the distance from the positive to the negative where that is smaller.
        smooth_loss: softplus instead of the hinge.
        triplets_per_anchor: how many triplets of each anchor are drawn, or ``all``.
    """

    search_space = {"margin": Interval(0.01, 0.5, log=True)}
    use = "Ranking by distance is what the embeddings are for."
    avoid = "Large batches with triplets_per_anchor=all: their number grows with the cube."
    citation = "Schroff, Kalenichenko, Philbin: FaceNet, CVPR 2015, arXiv:1503.03832"

    def __init__(
        self,
        margin: float = 0.05,
        swap: bool = False,
        smooth_loss: bool = False,
        triplets_per_anchor: int | str = "all",
    ) -> None:
        super().__init__(
            losses.TripletMarginLoss(
                margin=margin, swap=swap, smooth_loss=smooth_loss, triplets_per_anchor=triplets_per_anchor
            )
        )
