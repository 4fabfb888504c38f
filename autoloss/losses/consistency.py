"""Agreement with a teacher, or with another view, where there are no labels."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from autoloss.core.errors import require, unknown
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._shapes import same_shape, several_classes

FORMS = ("mse", "kl", "pseudo_label")


class Consistency(Loss):
    """How far a prediction p is from a teacher's q, both softmaxes of logits [B, C, ...] -> [B].

    ``mse``: ``mean_c (p_c - q_c)^2`` (mean teacher, Pi-model). ``kl``: ``KL(q || p)`` (unsupervised
    data augmentation). ``pseudo_label``: cross-entropy with the teacher's class where it is sure,
    ``max_c q_c >= threshold``, and 0 elsewhere (FixMatch). The target is the teacher's logits,
    which get no gradient. The teacher is a running mean of the network
    (``torch.optim.swa_utils.AveragedModel``), or the network itself on a weaker augmentation.

    Ramp the loss up: ``weighting=scheduled weighting.schedules.NAME=rampup(1,0.3)``.

    Args:
        form: ``mse``, ``kl`` or ``pseudo_label``.
        threshold: how sure the teacher must be, in [0, 1] (pseudo_label).
    """

    takes = ("logits",)
    search_space = {"threshold": Interval(0.5, 0.99)}
    unlearnable = ("threshold",)
    use = "Samples without labels, and augmentations that do not change the answer."
    avoid = "The teacher is not yet better than chance (ramp the loss up); an augmentation may change the answer."
    outliers = "mse is bounded; a wrong pseudo-label of which the teacher is sure is learned."
    imbalance = "The teacher is sure of frequent classes first: most pseudo-labels are theirs."
    gradients = "mse: they vanish where both are sure; pseudo_label: those of cross-entropy, on few samples at first."
    citation = "Tarvainen, Valpola: Mean teachers, NeurIPS 2017, arXiv:1703.01780; FixMatch: arXiv:2001.07685"

    def __init__(self, form: str = "mse", threshold: float = 0.95) -> None:
        super().__init__()
        if form not in FORMS:
            raise unknown("form of consistency", form, FORMS)
        require(0 <= threshold <= 1, "`threshold` must lie in [0, 1]", f"threshold={threshold}")
        self.form, self.threshold = form, threshold

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        prediction, target = same_shape(prediction, target.detach())
        if self.form == "mse":
            return per_sample((prediction.softmax(1) - target.softmax(1)).square())
        if self.form == "kl":
            teacher = target.log_softmax(1)
            return per_sample((teacher.exp() * (teacher - prediction.log_softmax(1))).sum(1))
        sure, label = target.softmax(1).max(1)
        entropy = functional.cross_entropy(prediction, label, reduction="none")
        return per_sample(torch.where(sure >= self.threshold, entropy, 0.0))
