"""The normalised, temperature-scaled cross-entropy (InfoNCE)."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class NtXent(EmbeddingLoss):
    """Picks the other of a pair of one class among all of other classes: ``-log softmax(s_ap / temperature)``.

    Args:
        temperature: of the cosine similarities, above 0.
    """

    search_space = {"temperature": Interval(0.02, 0.5, log=True)}
    use = "Two views of each sample (give both the sample's number as label), or many classes."
    avoid = "A small batch: there are few negatives to tell apart."
    citation = "Chen et al.: SimCLR, ICML 2020, arXiv:2002.05709"

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__(losses.NTXentLoss(temperature=temperature))
