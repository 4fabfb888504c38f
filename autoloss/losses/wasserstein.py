"""The Wasserstein adversarial loss."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.loss import per_sample
from autoloss.losses._shapes import same_shape


class Wasserstein(AdversarialLoss):
    """Discriminator ``D(y) - D(x)``, generator ``-D(y)``: [B, ...] -> [B] (eq. 2, the dual of the distance).

    It means nothing unless the discriminator is kept smooth: give it ``gradient_penalty``, and several
    steps a turn (5 in the paper). Its value has no bound and may be negative.
    """

    use = "With gradient_penalty: a discriminator that may be trained far ahead, and a value that follows quality."
    avoid = "Nothing keeps the discriminator smooth; several of its steps for each of the generator's cost too much."
    outliers = "Every sample pulls equally, however far out it is."
    imbalance = "Modes count by their share of the data."
    gradients = "Constant with respect to the logit: their size is the discriminator's slope."
    citation = "Arjovsky, Chintala, Bottou: Wasserstein GAN, ICML 2017, arXiv:1701.07875"

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        return per_sample(-prediction)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real, fake)
        return per_sample(fake - real)
