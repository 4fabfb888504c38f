"""A learned uncertainty of each noise level."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples
from autoloss.core.space import Interval
from autoloss.core.tensors.adam import AdamState
from autoloss.sample_weightings._noise import levels


class LevelUncertainty(SampleWeighting):
    """Weighs each sample with ``e^-u(level)``; u is learned to minimise ``e^-u l + u``: ``e^u`` is the mean loss.

    Each level then contributes a loss of about 1, however hard it is (EDM2's multi-task view of the levels). u is
    linear in random Fourier features of ``log(level) / 4``, plus a constant that starts at the logarithm of the first
    losses, and follows its own Adam.

    It needs no ``target``: a factor of the loss that depends on the level alone cancels. EDM2 multiplies by edm's
    weight first, for the same reason without effect once u is learned, and has no constant.

    Args:
        lr: learning rate of u's Adam, above 0.
        width: number of features, at least 1; 128 in the authors' code.
        seed: of the features.
        key: the data's key of the levels, above 0: EDM's sigma, or ``sigma_t / alpha_t``.
    """

    frequencies: Tensor
    phases: Tensor
    net: Tensor
    centre: Tensor
    seen: Tensor
    search_space = {"lr": Interval(1e-3, 0.1, log=True)}
    use = "Diffusion models and other losses over a range of levels, when no weight is known to be right."
    avoid = "Some levels should count less however hard they are: what cannot be seen in a picture (p2, min_snr)."
    citation = "Karras et al.: Analyzing and improving training dynamics (EDM2), CVPR 2024, arXiv:2312.02696"

    def __init__(self, lr: float = 0.01, width: int = 128, seed: int = 0, key: str = "level") -> None:
        super().__init__()
        require(lr > 0, "`lr` must be above 0", f"lr={lr}")
        require(1 <= width <= 10**6, "`width` must lie between 1 and 1e6", f"width={width}")
        require(bool(key), "`key` must name a column of the data", f"key={key!r}")
        self.width, self.seed, self.column = width, seed, key
        self.adam = AdamState(lr)

    def allocate(self, size: int) -> None:
        generator = torch.Generator().manual_seed(self.seed)
        self.add_state("frequencies", 2 * math.pi * torch.randn(self.width, generator=generator))
        self.add_state("phases", 2 * math.pi * torch.rand(self.width, generator=generator))
        self.add_state("net", torch.zeros(self.width + 1))
        self.add_state("centre", torch.zeros(()))
        self.add_state("seen", torch.zeros(()))
        self.adam.allocate(self.width + 1, axes=0)

    def forward(self, samples: Samples) -> Tensor:
        return torch.exp(-self._log_mean(samples, self._features(samples)))

    def update(self, samples: Samples) -> None:
        features, any_here = self._features(samples), samples.present.any()
        ratio = samples.losses.clamp(min=0) * torch.exp(-self._log_mean(samples, features))
        # Beyond 100 a ratio counts as 100: Adam would remember one outlier for a thousand steps.
        slope = (1 - ratio.clamp(max=100)).where(samples.present, 0.0) / samples.count
        self.centre.copy_(torch.where(any_here, self._centre(samples), self.centre))
        self.seen.copy_(torch.maximum(self.seen, any_here.float()))
        self.adam.step(self.net, slope @ features)

    def _features(self, samples: Samples) -> Tensor:
        """Cosines of the level, and 1, [B, width + 1], of squared length 2 or so."""
        angle = (levels(samples, self.column).log() / 4)[:, None] * self.frequencies + self.phases
        cosines = angle.cos() * math.sqrt(2 / self.width)
        return torch.cat([cosines, torch.ones_like(angle[:, :1])], 1)

    def _log_mean(self, samples: Samples, features: Tensor) -> Tensor:
        return (self._centre(samples) + features @ self.net).clamp(-60, 60)

    def _centre(self, samples: Samples) -> Tensor:
        """The logarithm of the first batch's mean loss."""
        now = samples.mean(samples.losses.clamp(min=0)).clamp(1e-20, 1e20).log()
        return torch.where(self.seen > 0, self.centre, now)
