"""The contrastive loss of queries and keys."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._pairs import cosines
from autoloss.losses._shapes import same_shape


class InfoNce(Loss):
    """``-log (exp(s_ii / t) / sum_j exp(s_ij / t))`` of cosines s between queries and keys: [B, D] each -> [B].

    The prediction holds the queries and the target the keys: a sample's own key is the positive,
    the others' are the negatives. Both get gradients (detach keys that a momentum encoder made). A
    key of zeros takes no part: a masked sample has such a key. It computes in float32 at least.

    Args:
        temperature: t, above 0; the smaller, the more the hardest negatives count.
    """

    takes = ("vectors",)
    paired = True
    search_space = {"temperature": Interval(0.02, 1.0, log=True)}
    use = "Two encoders or two modalities whose pairs are known (text and image, query and document)."
    avoid = "Batches are small: there are few negatives. Other samples of a batch are positives too."
    outliers = "A false pair costs about 2 / t at most: cosines are bounded."
    imbalance = "Each sample is a query once; negatives of its own class are false, and a frequent class has many."
    gradients = "Softmax of the similarities, times 1 / t: the smaller t, the more they go to the hardest negatives."
    citation = "van den Oord, Li, Vinyals: Contrastive predictive coding, 2018, arXiv:1807.03748"

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        require(temperature > 0, "`temperature` must be above 0", f"temperature={temperature}")
        self.temperature = temperature

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        require(prediction.dim() == 2, "info_nce takes vectors [B, D]", f"the prediction is {list(prediction.shape)}")
        queries, keys = (x if x.dtype == torch.float64 else x.float() for x in same_shape(prediction, target))
        known = (keys != 0).any(1)
        self.notices.remark(
            "InfoNce needs at least two keys in a batch, but a batch has fewer: it costs 0. Draw larger batches.",
            known.sum() < 2,
        )
        # A sample without a key still has itself, so that no row is empty.
        candidates = known | torch.eye(len(keys), dtype=torch.bool, device=keys.device)
        similar = torch.where(candidates, cosines(queries, keys) / self.temperature, -torch.inf)
        return torch.where(known, -similar.log_softmax(1).diagonal(), 0.0)
