"""The least-squares adversarial loss."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.loss import per_sample
from autoloss.losses._shapes import same_shape


class LeastSquares(AdversarialLoss):
    """Discriminator ``((D(x) - b)^2 + (D(y) - a)^2) / 2``, generator ``(D(y) - c)^2 / 2``: [B, ...] -> [B] (eq. 2).

    Args:
        fake: a, the discriminator's target for generated samples.
        real: b, its target for real ones; not equal to a.
        wanted: c, the generator's target. ``b - c = 1`` and ``b - a = 2`` (-1, 1, 0) minimise
            Pearson's chi-squared divergence; 0, 1, 1 is usual.
    """

    use = "Image translation with patch discriminators; stable without tuning."
    avoid = "The discriminator is far ahead: samples that are badly wrong pull hardest (non_saturating)."
    outliers = "A sample of which the discriminator is sure pulls in proportion to its distance from the target."
    imbalance = "Frequent modes dominate; samples far from the boundary are drawn to it."
    gradients = "Linear in the logit: they do not vanish, however sure the discriminator is."
    citation = "Mao et al.: Least squares GAN, ICCV 2017, arXiv:1611.04076"

    def __init__(self, fake: float = 0.0, real: float = 1.0, wanted: float = 1.0) -> None:
        super().__init__()
        require(fake != real, "`fake` and `real` must differ", f"both are {fake}")
        self.fake, self.real, self.wanted = fake, real, wanted

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        return per_sample((prediction - self.wanted).square() / 2)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real, fake)
        return per_sample(((real - self.real).square() + (fake - self.fake).square()) / 2)
