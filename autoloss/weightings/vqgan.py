"""VQGAN's adaptive weight of the adversarial loss."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, check_known, require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.tensors.constants import flags
from autoloss.core.weighting import Weighting


class Vqgan(Weighting):
    """Weights an adversarial loss so that its gradient is as long as that of the main losses together.

    ``w = weight * min(||grad L_main|| / (||grad L_adv|| + delta ||grad L_main||), clip)`` (eq. 7), with
    L_main the sum of the main losses; they, and all others, have the weight 1. The paper's anchor is
    the weight of the decoder's last layer.

    Args:
        adversarial: name of the adversarial loss, or names of several, each weighted on its own.
        main: names of the main losses (reconstruction and perceptual); all but the adversarial ones if none is given.
        weight: how long the adversarial gradient is relative to the main one, at least 0.
        delta: at least 0, relative to the main gradient, so that scale does not matter; the code has 1e-4
            and the paper 1e-6 in units of the gradient.
        clip: largest ratio, above 0.
        start: step from which the adversarial loss counts; its weight is 0 before, and nothing is measured.
        start_progress: the same as a part of training, in [0, 1]; both must be reached.
    """

    needs = Need.VALUES | Need.GRAM
    claims = frozenset({"common_scale_invariant"})
    search_space = {"weight": Interval(0.1, 2.0, log=True)}
    use = "An autoencoder whose decoder also has to fool a discriminator."
    avoid = "The adversarial loss shares no layer with the main one."
    citation = "Esser, Rombach, Ommer: Taming transformers, CVPR 2021, arXiv:2012.09841"

    def __init__(
        self,
        adversarial: str | Sequence[str] = "adv",
        main: str | Sequence[str] = (),
        weight: float = 1.0,
        delta: float = 1e-4,
        clip: float = 1e4,
        start: int = 0,
        start_progress: float = 0.0,
    ) -> None:
        super().__init__()
        self.adversarial, self.main = _names(adversarial), _names(main)
        require(len(self.adversarial) > 0, "`adversarial` must name a loss", "it is empty")
        require(weight >= 0, "`weight` must be at least 0", f"weight={weight}")
        require(delta >= 0, "`delta` must be at least 0", f"delta={delta}")
        require(clip > 0, "`clip` must be above 0", f"clip={clip}")
        require(start >= 0, "`start` must be at least 0", f"start={start}")
        require(0 <= start_progress <= 1, "`start_progress` must lie in [0, 1]", f"start_progress={start_progress}")
        for name in self.main:
            require(name not in self.adversarial, "A loss must be main or adversarial", f"{name!r} is both")
        self.weight, self.delta, self.clip = weight, delta, clip
        self.start, self.start_progress = start, start_progress
        self.follows = frozenset({"progress"} if start_progress else ())

    def needs_at(self, step: int) -> Need:
        return self.needs if step >= self.start else Need.VALUES

    def allocate(self, size: int) -> None:
        check_known("loss", (*self.adversarial, *self.main), self.names)
        if len(self.adversarial) == size:
            raise ConfigError("Some loss must be main, but all are adversarial. Name the adversarial one only.")

    def forward(self, signals: Signals) -> Tensor:
        device = signals.values.device
        adversarial = flags(tuple(name in self.adversarial for name in self.names), device)
        if signals.step < self.start or signals.progress < self.start_progress:
            return (~adversarial).float()
        main = flags(tuple(name in self.main for name in self.names), device) if self.main else ~adversarial
        gram, both = signals.gram, main & signals.present
        length = torch.where(both & both[:, None], gram, 0.0).sum().clamp(min=0).sqrt()
        ratio = length / (gram.diagonal().clamp(min=0).sqrt() + self.delta * length)
        # 0 / 0: neither has a gradient here, and nothing is to be balanced.
        ratio = torch.where(ratio.isnan() & (length == 0), 1.0, ratio).clamp(max=self.clip)
        return torch.where(adversarial, self.weight * ratio, 1.0)


def _names(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)
