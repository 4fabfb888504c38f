"""Data with noise added: the levels of it, what a network may predict, and pictures made by taking noise away.

A level s is the noise's size where the signal's factor is 1 (EDM's sigma). What a network sees is scaled to
``(x0 + s n) / sqrt(1 + s^2) = alpha x0 + sigma n``, whose variance is kept. All levels are above 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from autoloss.core.errors import unknown

LOWEST, HIGHEST = 0.01, 80.0  # of the levels that are drawn
RHO = 7.0  # of the sampler's levels, as in EDM


def _cosine(t: Tensor) -> Tensor:
    return torch.tan(math.pi / 2 * t)


def _linear(t: Tensor) -> Tensor:
    return torch.expm1(0.1 * t + 9.95 * t**2).sqrt()


def _edm(t: Tensor) -> Tensor:
    return torch.exp(-1.2 + 1.2 * torch.special.ndtri(t))


# The level below which a share t of the draws lies.
SCHEDULES: Mapping[str, Callable[[Tensor], Tensor]] = {"cosine": _cosine, "linear": _linear, "edm": _edm}


def levels(schedule: str, t: Tensor) -> Tensor:
    """The level below which the share ``t``, in [0, 1], of the schedule's levels lies; between 0.01 and 80.

    ``cosine``: ``tan(pi t / 2)`` (Nichol and Dhariwal, 2021, without their offset). ``linear``: beta grows from 0.1 to
    20 (DDPM in continuous time, Song et al., 2021). ``edm``: the logarithm is normal, with mean -1.2 and deviation 1.2
    (Karras et al., 2022).

    >>> levels("cosine", torch.tensor([0.0, 0.5, 1.0])).tolist()
    [0.009999999776482582, 1.0, 80.0]
    """
    if schedule not in SCHEDULES:
        raise unknown("schedule of noise levels", schedule, SCHEDULES)
    return SCHEDULES[schedule](t.double()).clamp(LOWEST, HIGHEST).float()


def shares(level: Tensor) -> tuple[Tensor, Tensor]:
    """The factors of the signal and of the noise, ``alpha`` and ``sigma``, at ``level``."""
    alpha = torch.rsqrt(1 + level.square())
    return alpha, level * alpha


def wanted(target: str, clean: Tensor, noise: Tensor, level: Tensor) -> Tensor:
    """What a network that predicts ``target`` should say; ``level`` can be broadcast to the other two."""
    alpha, sigma = shares(level)
    return {"epsilon": noise, "x0": clean}[target] if target != "v" else alpha * noise - sigma * clean


def cleaned(target: str, said: Tensor, seen: Tensor, level: Tensor) -> Tensor:
    """The guess of x0 of a network that predicted ``said`` for ``seen = alpha x0 + sigma n``."""
    alpha, sigma = shares(level)
    if target == "epsilon":
        return (seen - sigma * said) / alpha
    return said if target == "x0" else alpha * seen - sigma * said


def descending(lowest: Tensor, highest: Tensor, steps: int) -> Tensor:
    """The levels [steps + 1] through which pictures are made: EDM's, even in ``s^(1/7)``, and 0 at the end."""
    ramp = torch.linspace(0, 1, steps, device=lowest.device, dtype=lowest.dtype)
    return torch.cat([(highest ** (1 / RHO)).lerp(lowest ** (1 / RHO), ramp) ** RHO, lowest.new_zeros(1)])


def sampled(denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, through: Tensor, second: bool) -> Tensor:
    """A picture for each row of ``noise``, by the probability flow ``dx/ds = (x - D(x; s)) / s`` through the levels.

    ``denoise(x, s)`` is D, the guess of x0 for ``x = x0 + s n``. A step of first order (Euler's, which is DDIM) calls
    it once, one of ``second`` order (Heun's, as in EDM) twice, except the last.
    """
    x = through[0] * noise
    for step, (now, after) in enumerate(pairwise(through), start=2):
        slope = (x - denoise(x, now)) / now
        there = x + (after - now) * slope
        if second and step < len(through):
            slope = (slope + (there - denoise(there, after)) / after) / 2
            there = x + (after - now) * slope
        x = there
    return x


class Denoiser(nn.Module):
    """An MLP with residual blocks: pictures [B, P] with noise, their levels [B] and classes [B] to features [B, W].

    :attr:`head` makes of the features what is predicted, [B, P].
    """

    WAVES = 16

    def __init__(self, pixels: int, classes: int, width: int, blocks: int = 2) -> None:
        super().__init__()
        self.classes = classes
        self.enter = nn.Linear(pixels + classes + 2 * self.WAVES, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )
        self.head = nn.Linear(width, pixels)

    def forward(self, seen: Tensor, level: Tensor, labels: Tensor) -> Tensor:
        waves = torch.linspace(0.25, 4, self.WAVES, device=level.device)
        angle = level.log().unsqueeze(1) * waves
        classes = (labels.unsqueeze(1) == torch.arange(self.classes, device=labels.device)).to(seen.dtype)
        features = self.enter(torch.cat([seen, classes, angle.sin(), angle.cos()], 1))
        for block in self.blocks:
            features = features + block(features)
        return silu(features)
