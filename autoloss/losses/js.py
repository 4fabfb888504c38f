"""The Jensen-Shannon divergence of a predicted distribution and the true one."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.loss import Loss, per_sample
from autoloss.losses._labels import probabilities
from autoloss.losses._shapes import same_shape, several_classes


class Js(Loss):
    """``(KL(P || M) + KL(Q || M)) / 2`` with ``M = (P + Q) / 2``, in [0, log 2]: [B, C, ...] each -> [B].

    The prediction holds the logits of Q, the target the probabilities P. Sum over classes, mean
    over the rest.
    """

    takes = ("mixtures",)
    use = "Distributions that may exclude each other's classes; noisy labels: a mistake costs log 2 at most."
    avoid = "Training starts far from the target: the loss is flat there (kl, cross_entropy)."
    outliers = "Bounded by log 2, however wrong they are."
    imbalance = "Classes count by their probability in P and Q."
    gradients = "They vanish where P and Q have nothing in common."
    citation = "Lin: Divergence measures based on the Shannon entropy, IEEE Trans. Information Theory 1991"

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        prediction, target = same_shape(prediction, target)
        probabilities(self, target, "Probabilities of classes")
        log_q = prediction.log_softmax(1)
        log_p = target.clamp(min=torch.finfo(target.dtype).tiny).log()
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        return per_sample(0.5 * (target * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(1))
