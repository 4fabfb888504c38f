"""Generalised cross-entropy, between cross-entropy and the absolute error."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import class_labels
from autoloss.losses._tempered import tempered_log


class GeneralisedCrossEntropy(Loss):
    """``(1 - p_t^q) / q``, p_t the probability of the label: logits [B, C, ...] and classes [B, ...] -> [B].

    q = 0 is cross-entropy, q = 1 is ``1 - p_t``, half the absolute error of the probabilities. The larger q,
    the less a label counts that the network does not believe.

    Args:
        q: in [0, 1]. The paper takes 0.7.
        ignore_index: a label that is left out; none by default.

    The paper's truncated form also leaves out samples whose p_t is below 0.5, of all data, every tenth epoch. That is
    a weighting of samples: ``sample_weighting=small_loss`` is near to it.
    """

    takes = ("classes", "pixels")
    search_space = {"q": Interval(0.0, 1.0)}
    use = "One class of several, and a good part of the labels is wrong."
    avoid = "Labels are clean, or there are many classes and little time: with a large q it hardly learns at first."
    outliers = "A wrong label costs at most 1 / q, and its gradient vanishes with its probability."
    imbalance = "Classes that are rarely predicted have small gradients: rare ones are learned late or never."
    gradients = "Those of cross-entropy times p_t^q: small where the network disagrees with the label."
    citation = "Zhang, Sabuncu: Generalized cross entropy loss, NeurIPS 2018, arXiv:1805.07836"

    def __init__(self, q: float = 0.7, ignore_index: int | None = None) -> None:
        super().__init__()
        require(0 <= q <= 1, "`q` must lie in [0, 1]", f"q={q}")
        self.q, self.ignore_index = q, ignore_index

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        target, keep = class_labels(self, prediction, target, self.ignore_index)
        entropy = functional.cross_entropy(prediction, target, reduction="none")
        return per_sample(-tempered_log(-entropy, self.q), keep)
