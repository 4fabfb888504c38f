"""The non-saturating adversarial loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.loss import per_sample
from autoloss.losses._shapes import same_shape


class NonSaturating(AdversarialLoss):
    """Discriminator ``sp(-D(x)) + sp(D(y))``, generator ``sp(-D(y))``; sp is softplus, D a logit: [B, ...] -> [B].

    The generator's gradient has the direction of the minimax game's and ``s(-D) / s(D)`` times its size.
    """

    use = "The first choice, with r1."
    avoid = "Modes are lost (relativistic); the discriminator cannot be regularised (wasserstein)."
    outliers = "A sample of which the discriminator is sure has a gradient of at most 1."
    imbalance = "Frequent modes dominate; rare ones are easily lost."
    gradients = "s(-D) at a generated sample: largest where the discriminator is sure of it."
    citation = "Goodfellow et al.: Generative adversarial nets, NeurIPS 2014, section 3, arXiv:1406.2661"

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        return per_sample(softplus(-prediction))

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real, fake)
        return per_sample(softplus(-real) + softplus(fake))
