"""Feature matching."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.core.loss import Loss, per_sample
from autoloss.losses._shapes import at_least_float32, same_shape


class FeatureMatching(Loss):
    """The mean absolute difference of a network's activations, mean over its layers: [B, ...] each -> [B].

    ``mean_l |f_l(y) - f_l(x)|`` with the activations f_l of generated samples y and of the real
    samples x that they should match (detached).

    Args:
        relative: divide each layer's difference by ``mean |f_l(x)|`` of the sample, so that layers of
            different scales count equally. EnCodec's paper divides by the batch's mean; here a sample's
            value depends on that sample only.

    pix2pixHD sums over layers with the factor 10 * 4 / L; a base weight does the same here.
    """

    use = "A generator that should match given samples (autoencoders, translation, audio)."
    avoid = "A generated sample has no real sample that it belongs to."
    outliers = "A generated sample costs in proportion to its distance from its real one."
    imbalance = "It matches what is frequent in the batch."
    gradients = "Not 0 where those of the adversarial loss have vanished; 0 where the features agree."
    citation = "Salimans et al., NeurIPS 2016; Wang et al.: pix2pixHD, CVPR 2018; Défossez et al., arXiv:2210.13438"

    def __init__(self, relative: bool = False) -> None:
        super().__init__()
        self.relative = relative

    def forward(self, prediction: Tensor | Sequence[Tensor], target: Tensor | Sequence[Tensor]) -> Tensor:
        generated, real = _layers(prediction), _layers(target)
        if len(generated) != len(real) or not generated:
            raise ConfigError(
                "Feature matching needs the same layers of both, at least one, but there are "
                f"{len(generated)} of the prediction and {len(real)} of the target."
            )
        return torch.stack([self._layer(f, g) for f, g in zip(generated, real, strict=True)]).mean(0)

    def _layer(self, generated: Tensor, real: Tensor) -> Tensor:
        generated, real = same_shape(at_least_float32(generated), real.detach())
        difference = per_sample((generated - real).abs())
        if not self.relative:
            return difference
        return difference / per_sample(real.abs()).clamp(min=torch.finfo(real.dtype).eps)


def _layers(given: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    return (given,) if isinstance(given, Tensor) else given
