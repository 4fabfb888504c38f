"""The Kullback-Leibler divergence of a predicted distribution from the true one."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.loss import Loss, per_sample
from autoloss.core.space import Interval
from autoloss.losses._labels import probabilities
from autoloss.losses._shapes import same_shape, several_classes


class Kl(Loss):
    """``max(KL(P || Q), free_bits)``, ``KL = sum_c p_c (log p_c - log q_c)``: [B, C, ...] each -> [B].

    The prediction holds the logits of Q, the target the probabilities P. Sum over classes, mean
    over the rest. For the latent of a variational autoencoder see gaussian_kl.

    Args:
        free_bits: the divergence (in nats) below which the loss is constant, at least 0.

    torch's ``kl_div`` takes log-probabilities, and its "mean" divides by C as well.
    """

    takes = ("mixtures",)
    search_space = {"free_bits": Interval(0.0, 1.0)}
    unlearnable = ("free_bits",)
    use = "Targets are distributions: soft labels, votes, a policy to stay near to."
    avoid = "P has mass where Q can have none (js). Targets are single classes (cross_entropy, which is the same)."
    outliers = "A class that Q excludes and P does not costs without bound."
    imbalance = "Classes count by their probability in P."
    gradients = "Predicted minus true probability; 0 below free_bits."
    citation = "Kullback, Leibler: On information and sufficiency, 1951; free bits: Kingma et al., arXiv:1606.04934"

    def __init__(self, free_bits: float = 0.0) -> None:
        super().__init__()
        require(free_bits >= 0, "`free_bits` must be at least 0", f"free_bits={free_bits}")
        self.free_bits = free_bits

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        several_classes(prediction, target)
        prediction, target = same_shape(prediction, target)
        probabilities(self, target, "Probabilities of classes")
        divergence = (torch.xlogy(target, target) - target * prediction.log_softmax(1)).sum(1)
        return per_sample(divergence.clamp(min=self.free_bits) if self.free_bits > 0 else divergence)
