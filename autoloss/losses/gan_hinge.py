"""The hinge adversarial loss."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.gan.adversarial_loss import AdversarialLoss
from autoloss.core.loss import per_sample
from autoloss.losses._shapes import same_shape


class GanHinge(AdversarialLoss):
    """Discriminator ``max(0, 1 - D(x)) + max(0, 1 + D(y))``, generator ``-D(y)``: [B, ...] -> [B].

    Args:
        bounded: the generator has ``max(0, 1 - D(y))`` instead, which is 0 where the discriminator is fooled
            (audiocraft's hinge2).

    VQGAN's code halves the discriminator's loss; a base weight does the same here.
    """

    use = "Large image and audio generators, often with spectral normalisation."
    avoid = "The discriminator is soon perfect: it then learns nothing (r1, or relativistic)."
    outliers = "A sample of which the discriminator is sure adds nothing to its loss; the generator's loss is linear."
    imbalance = "The generator follows what the discriminator rewards: frequent modes, unless it is regularised."
    gradients = "Of size 1 within the margin, none beyond it; the generator's never vanish."
    citation = "Lim, Ye: Geometric GAN, 2017, arXiv:1705.02894; Miyato et al., ICLR 2018, arXiv:1802.05957"

    def __init__(self, bounded: bool = False) -> None:
        super().__init__()
        self.bounded = bounded

    def forward(self, prediction: Tensor, target: Tensor | None = None) -> Tensor:
        return per_sample((1 - prediction).relu() if self.bounded else -prediction)

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = same_shape(real, fake)
        return per_sample((1 - real).relu() + (1 + fake).relu())
