"""The relativistic pairing loss."""

from __future__ import annotations

from torch import Tensor
from torch.nn.functional import softplus

from autoloss.core.errors import ConfigError
from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.loss import per_sample
from autoloss.losses._shapes import same_shape


class Relativistic(AdversarialLoss):
    """Discriminator ``sp(-(D(x) - D(y)))``, generator ``sp(-(D(y) - D(x)))``; sp is softplus: [B, ...] -> [B].

    Real and generated samples are paired by their place in the batch (of one class, where classes
    are given). A constant added to D changes nothing.
    """

    sees_real = True
    use = "Losing few modes, with r1 and r2 (R3GAN)."
    avoid = "No real sample belongs to a generated one, and batches are small."
    outliers = "A pair that the discriminator gets very wrong has a gradient of at most 1."
    imbalance = "Each generated sample is compared with a real one, so that rare modes still count."
    gradients = "Depend on the difference of two logits: they vanish where it is large and has the wanted sign."
    citation = "Jolicoeur-Martineau, ICLR 2019, arXiv:1807.00734; Huang et al.: R3GAN, NeurIPS 2024, arXiv:2501.05441"

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        if target is None:
            raise ConfigError(
                "The relativistic loss needs the logits of real samples too, but it was given none. Pass both."
            )
        fake, real = same_shape(prediction, target)
        return per_sample(softplus(real - fake))

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real, fake)
        return per_sample(softplus(fake - real))
