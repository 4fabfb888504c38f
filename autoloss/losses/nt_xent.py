"""The contrastive loss of two views of each sample (SimCLR)."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss
from autoloss.core.space import Interval
from autoloss.losses._pairs import cosines
from autoloss.losses._shapes import same_shape


class NtXent(Loss):
    """``-log (exp(s_ij / t) / sum_{k != i} exp(s_ik / t))``, mean of a sample's two views i, j: [B, D] each -> [B].

    The prediction holds one view of each sample, the target the other; s are cosines among all 2 B
    of them, and both views get gradients. A sample with a view of zeros takes no part: a masked one has
    such a view. It computes in float32 at least. If all similarities are equal, it costs ``log(2 B - 1)``.

    Args:
        temperature: t, above 0.
    """

    takes = ("vectors",)
    paired = True
    search_space = {"temperature": Interval(0.02, 1.0, log=True)}
    use = "Learning features without labels from two augmentations of each sample."
    avoid = "Batches are small (a few hundred negatives are few). There are labels: use them."
    outliers = "A broken augmentation costs about 2 / t at most: cosines are bounded."
    imbalance = "Every sample counts equally; negatives of its own class are false, and a frequent class has many."
    gradients = "Softmax of the similarities, times 1 / t: the smaller t, the more they go to the hardest negatives."
    citation = "Chen, Kornblith, Norouzi, Hinton: SimCLR, ICML 2020, arXiv:2002.05709"

    def __init__(self, temperature: float = 0.5) -> None:
        super().__init__()
        require(temperature > 0, "`temperature` must be above 0", f"temperature={temperature}")
        self.temperature = temperature

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        require(prediction.dim() == 2, "nt_xent takes vectors [B, D]", f"the prediction is {list(prediction.shape)}")
        one, other = (x if x.dtype == torch.float64 else x.float() for x in same_shape(prediction, target))
        size, views = len(one), torch.cat([one, other])
        known = (one != 0).any(1) & (other != 0).any(1)
        self.notices.remark(
            "NtXent needs at least two samples in a batch, but a batch has fewer: it costs 0. Draw larger batches.",
            known.sum() < 2,
        )
        itself = torch.eye(2 * size, dtype=torch.bool, device=views.device)
        twin = itself.roll(size, dims=1)
        candidates = (known.repeat(2) & ~itself) | twin
        similar = torch.where(candidates, cosines(views, views) / self.temperature, -torch.inf)
        # Chosen and not multiplied: the other entries may be -inf, and -inf times 0 is NaN.
        cost = -torch.where(twin, similar.log_softmax(1), 0.0).sum(1)
        return torch.where(known, cost.view(2, size).mean(0), 0.0)
