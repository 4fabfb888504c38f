"""The contrastive loss of a batch's pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._pairs import distances, relations
from autoloss.losses._shapes import of_vectors


class Contrastive(Loss):
    """``d^2`` to others of its class, ``max(0, m - d)^2`` to those of other classes, mean over both: [B, D] -> [B].

    d is the Euclidean distance (of vectors as they are: normalise them where lengths mean nothing),
    targets are classes [B]. A sample's value is the mean over the pairs that it is in; a sample with a
    negative label is in no pair, and neither is a masked one. It computes in float32 at least, and needs
    memory for B x B x D numbers.

    Args:
        margin: m, above 0, in units of distance.

    The paper has a factor 1/2; pytorch-metric-learning does not square.
    """

    takes = ("embeddings",)
    absent = -1
    paired = True
    search_space = {"margin": Interval(0.1, 5.0, log=True)}
    use = "A first choice for embeddings; few parameters."
    avoid = "Most pairs are easy already: the mean is over many zeros (triplet, info_nce)."
    outliers = "A sample with a wrong label costs the square of its distance to each sample of that class."
    imbalance = "Pairs of two classes far outnumber those of one; draw batches with few classes."
    gradients = "Proportional to the distance within a class; none beyond the margin; 0 where vectors coincide."
    citation = "Hadsell, Chopra, LeCun: Dimensionality reduction by learning an invariant mapping, CVPR 2006"

    def __init__(self, margin: float = 1.0) -> None:
        super().__init__()
        require(margin > 0, "`margin` must be above 0", f"margin={margin}")
        self.margin = margin

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        vectors = of_vectors(prediction, target)
        same, other = relations(target)
        self.notices.remark(
            "Contrastive needs pairs, but a batch has none: it costs 0. Draw larger batches.", ~(same | other).any()
        )
        apart = distances(vectors)
        # Chosen before the squares: a square that overflows would give a NaN gradient even where it does not count.
        near, far = torch.where(same, apart, 0.0), torch.where(other, self.margin - apart, 0.0).clamp(min=0)
        cost = near.square() + far.square()
        return cost.sum(1) / (same | other).sum(1).clamp(min=1)
