"""Weights by a sample's noise level, for networks that learn to remove noise."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from autoloss.core.errors import ConfigError, require, unknown
from autoloss.core.problem import Problem
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples

TARGETS = ("epsilon", "x0", "v")
SMALLEST, LARGEST = 1e-9, 1e9  # of a level: their squares and inverses are far within float32


class NoiseWeighting(SampleWeighting):
    """Weighs a sample ``a (x0 + s n)`` by its level s: the noise's size where the signal's factor is 1.

    s is EDM's sigma; with ``alpha_t x0 + sigma_t n`` it is ``sigma_t / alpha_t``, and ``1 / s^2`` is the signal to
    noise ratio. Subclasses give the weight of the squared error of x0; that of the noise's is the same times s^2, and
    that of ``v = alpha_t n - sigma_t x0`` the same times ``s^2 / (1 + s^2)``: one weighted error, whatever the network
    predicts. Where the user names no target, it is the problem's (``Problem.predicts``), and :attr:`usual` if that says
    nothing.
    """

    usual = "epsilon"

    def __init__(self, target: str | None, key: str) -> None:
        super().__init__()
        if target is not None and target not in TARGETS:
            raise unknown("target of a denoiser", target, TARGETS)
        require(bool(key), "`key` must name a column of the data", f"key={key!r}")
        self.named, self.target, self.column = target, target or self.usual, key

    def suit(self, problem: Problem) -> None:
        """Take the target from ``problem``; another one that the user has named is an error."""
        super().suit(problem)
        predicts = problem.predicts
        if predicts is not None and self.named not in (None, predicts):
            raise ConfigError(
                f"A rule for noise levels must weigh what the network predicts, but the network of {problem.title()!r} "
                f"predicts {predicts} and the rule's target is {self.named}. Leave sample_weighting.target out."
            )
        self.target = predicts or self.target

    @abstractmethod
    def signal_weight(self, level: Tensor) -> Tensor:
        """The weight [B] of the squared error of x0 at ``level`` [B]."""

    def forward(self, samples: Samples) -> Tensor:
        level = levels(samples, self.column)
        weight, squared = self.signal_weight(level), level.square()
        if self.target == "x0":
            return weight
        return weight * (squared if self.target == "epsilon" else squared / (1 + squared))


def levels(samples: Samples, key: str) -> Tensor:
    """The key of the samples' noise levels, [B], float32; on a CPU one that is not above 0 is an error."""
    level = samples.key(key).float()
    if level.device.type == "cpu" and len(level) and not bool(((level > 0) & level.isfinite()).all()):
        wrong = float(level[~((level > 0) & level.isfinite())][0])
        raise ConfigError(
            f"A noise level must be above 0 and finite, but {key!r} has {wrong:g}. Give the noise's size over the "
            "signal's factor, not a step of the noise schedule."
        )
    return level.clamp(SMALLEST, LARGEST)
