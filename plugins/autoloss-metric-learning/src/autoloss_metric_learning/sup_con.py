"""The supervised contrastive loss."""

from __future__ import annotations

from pytorch_metric_learning import losses

from autoloss import Interval
from autoloss_metric_learning.embedding_loss import EmbeddingLoss


class SupCon(EmbeddingLoss):
    """The mean over the anchor's class of ``-log softmax(s_ap / temperature)`` among all other samples.

    Args:
        temperature: of the cosine similarities, above 0.
    """

    search_space = {"temperature": Interval(0.02, 0.5, log=True)}
    use = "Classes with many samples in each batch."
    avoid = "Batches in which most classes have one sample."
    citation = "Khosla et al.: Supervised contrastive learning, NeurIPS 2020, arXiv:2004.11362"

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__(losses.SupConLoss(temperature=temperature))
