"""The minimax game of the first GAN."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.loss import per_sample
from autoloss.losses._shapes import same_shape


class Minimax(AdversarialLoss):
    """Discriminator ``sp(-D(x)) + sp(D(y))``, generator ``-sp(D(y))``; sp is softplus, D a logit: [B, ...] -> [B].

    That is ``-log s(D(x)) - log(1 - s(D(y)))`` with the sigmoid s (eq. 1).
    """

    use = "Theory: the generator's value is bounded below by the Jensen-Shannon divergence."
    avoid = "Training: the generator's gradient vanishes where the discriminator is sure (non_saturating)."
    outliers = "A sample that the discriminator is sure is generated gives the generator no gradient."
    imbalance = "Frequent modes dominate; rare ones are easily lost."
    gradients = "Those of the generator vanish where the discriminator is sure, as it is at the start."
    citation = "Goodfellow et al.: Generative adversarial nets, NeurIPS 2014, arXiv:1406.2661"

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        return per_sample(-softplus(prediction))

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real, fake)
        return per_sample(softplus(-real) + softplus(fake))
