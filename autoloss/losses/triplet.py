"""The triplet loss, of given triplets or of the hardest in a batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._pairs import distances, relations
from autoloss.losses._shapes import of_vectors


class Triplet(Loss):
    """``max(0, d(a, p) - d(a, n) + margin)``: the positive should be nearer to the anchor than the negative -> [B].

    Predictions [B, 3, D] are triplets (anchor, positive, negative), whose target is not used.
    Of vectors [B, D] with classes [B], each is the anchor of its hardest triplet in the batch: the
    farthest vector of its class and the nearest of another (Hermans et al.); without both it costs 0.
    A sample with a negative label is in no triplet, and neither is a masked one. It computes in float32
    at least, and needs memory for B x B x D numbers. Distances are not squared.

    Args:
        margin: above 0, in units of distance.
    """

    takes = ("embeddings", "triplets")
    absent = -1
    paired = True
    search_space = {"margin": Interval(0.05, 2.0, log=True)}
    unlearnable = ("margin",)
    use = "Embeddings that are ranked by distance (search, re-identification)."
    avoid = "Labels are wrong: they make the hardest triplets. All vectors collapse at first: lower the learning rate."
    outliers = "The hardest triplets are often wrongly labelled samples."
    imbalance = "Each anchor has one triplet; classes count by their samples."
    gradients = "Unit vectors while the margin is violated, 0 after; 0 where vectors coincide."
    citation = "Schroff et al.: FaceNet, CVPR 2015, arXiv:1503.03832; Hermans et al., 2017, arXiv:1703.07737"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        require(margin > 0, "`margin` must be above 0", f"margin={margin}")
        self.margin = margin

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        if prediction.dim() == 3 and prediction.shape[1] == 3:
            triplet = prediction if prediction.dtype == torch.float64 else prediction.float()
            anchor, positive, negative = triplet.unbind(1)
            return functional.triplet_margin_loss(anchor, positive, negative, margin=self.margin, reduction="none")
        vectors = of_vectors(prediction, target)
        same, other = relations(target)
        if not len(vectors):
            return vectors.sum(1)
        whole = same.any(1) & other.any(1)
        self.notices.remark(
            "Triplet needs two samples of a class and one of another, but a batch has no such samples: it costs 0. "
            "Draw batches with several samples of several classes.",
            ~whole.any(),
        )
        apart = distances(vectors)
        positive = torch.where(same, apart, -torch.inf).amax(1)
        negative = torch.where(other, apart, torch.inf).amin(1)
        short = torch.where(whole, positive, 0.0) - torch.where(whole, negative, 0.0) + self.margin
        return torch.where(whole, short.clamp(min=0), 0.0)
