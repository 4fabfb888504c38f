"""CoBa: convergence balancer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.weighting import Weighting

TINY = 1e-20


class Coba(Weighting):
    """Weights losses so that they converge on held-out data at the same pace, and less where they begin to diverge.

    Every ``every`` steps the held-out losses are divided by their first values. ``alpha_k`` is the slope of the
    straight line through the last N of these ratios. Then, with softmax over losses for RCS and ACS:

    - relative convergence score ``RCS = softmax(K alpha / sum_k |alpha_k|)``: less for what converges faster;
    - absolute convergence score ``ACS = softmax(-N alpha / sum_t |alpha(t)|)``: less for what diverges;
    - divergence factor ``DF = min(1, t softmax_t(-tau t a / sum_t |a(t)|))`` at the last measurement t, where ``a(t) =
      max_k alpha_k(t)``: near 1 while all converge, near 0 as soon as one of them diverges.

    ``w = K (DF RCS + (1 - DF) ACS)``. The weights sum to K, not to 1 as in the paper.

    Args:
        window: N, at least 2; 2 to 5 times the number of held-out batches in the paper.
        warmup: measurements before a loss is weighted, at least 2; the number of held-out batches in the paper.
        tau: temperature of the divergence factor, above 0; 5 in the paper.
        every: optimiser steps from one measurement to the next, at least 1.

    The paper's DF looks back to the first step, ours over the last N measurements. The authors' code departs from
    their paper, and we follow the paper: in the code ``a`` is the slope of the largest ratio, DF may exceed 1, and a
    further softmax with a floor of 1 / (10 K) follows. Here a loss has the weight 1 while it has fewer than ``warmup``
    measurements, and a measurement where it is absent does not count. Their batches come from the validation split,
    ours from a share of the training data.
    """

    first: Tensor
    number: Tensor
    ratios: Tensor
    slopes: Tensor
    largest: Tensor
    needs = Need.VALUES | Need.HELD_OUT
    claims = frozenset({"sums_to_count", "permutation_equivariant", "common_scale_invariant"})
    search_space = {"tau": Interval(1.0, 20.0, log=True)}
    use = "Fine-tuning on tasks that converge at different speeds and overfit one after the other; costs one forward."
    avoid = "No data can be spared, a task is rare in a held-out batch, or training is shorter than the window."
    citation = "Gong, Yu, Liao, Liu, Chen, Li: CoBa, EMNLP 2024, arXiv:2410.06741"

    def __init__(self, window: int = 100, warmup: int = 20, tau: float = 5.0, every: int = 1) -> None:
        super().__init__()
        require(window >= 2, "`window` must be at least 2", f"window={window}")
        require(warmup >= 2, "`warmup` must be at least 2", f"warmup={warmup}")
        require(tau > 0, "`tau` must be above 0", f"tau={tau}")
        require(every >= 1, "`every` must be at least 1", f"every={every}")
        self.window, self.warmup, self.tau, self.every = window, warmup, tau, every

    def needs_at(self, step: int) -> Need:
        return self.needs if step % self.every == 0 else Need.VALUES

    def allocate(self, size: int) -> None:
        self.add_state("first", torch.full((size,), math.nan), axes=1)
        self.add_state("number", torch.zeros(size), axes=1)
        # The newest last; NaN before the first.
        self.add_state("ratios", torch.full((size, self.window), math.nan), axes=1)
        self.add_state("slopes", torch.full((size, self.window), math.nan), axes=1)
        self.add_state("largest", torch.full((self.window,), math.nan))

    def forward(self, signals: Signals) -> Tensor:
        ready = signals.present & (self.number >= self.warmup)
        alpha, count = torch.where(ready, self.slopes[:, -1], 0.0), ready.sum()
        relative = count * alpha / alpha.abs().sum().clamp(min=TINY)
        absolute = -_normalised(self.slopes)[:, -1]
        factor = self._divergence_factor()
        score = factor * _softmax(relative, ready) + (1 - factor) * _softmax(absolute, ready)
        return torch.where(ready, count * score, 1.0)

    def update(self, signals: Signals) -> None:
        if Need.HELD_OUT not in self.needs_at(signals.step):
            return
        losses = signals.held_out
        # A first value of 0 cannot divide.
        begins = self.first.isnan() & (losses.abs() > TINY)
        self.first.copy_(torch.where(begins, losses.abs(), self.first))
        ratio = losses / self.first
        here = signals.present & ratio.isfinite()
        self.number.add_(here.float())
        self.ratios.copy_(_pushed(self.ratios, ratio, here))
        here = here & (self.number >= self.warmup)
        self.slopes.copy_(_pushed(self.slopes, _slope(self.ratios), here))
        largest = torch.where(here, self.slopes[:, -1], -math.inf).amax()
        self.largest.copy_(_pushed(self.largest, largest, here.any()))

    def _divergence_factor(self) -> Tensor:
        """DF of the last measurement, in [0, 1]."""
        scores = -self.tau * _normalised(self.largest)
        filled = self.largest.isfinite()
        share = _softmax(scores, filled)[-1]
        return torch.where(filled[-1], (filled.sum() * share).clamp(max=1.0), 1.0)


def _pushed(history: Tensor, value: Tensor, here: Tensor) -> Tensor:
    """``history`` [..., N] moved by one place with ``value`` [...] at its end, where it is ``here``."""
    return torch.where(here[..., None], torch.cat([history[..., 1:], value[..., None]], -1), history)


def _slope(ratios: Tensor) -> Tensor:
    """The slope [K] of the least-squares line through each row of ``ratios`` [K, N], NaN left out."""
    known = ratios.isfinite()
    number = known.sum(1, keepdim=True).clamp(min=1)
    place = torch.arange(ratios.shape[1], dtype=ratios.dtype, device=ratios.device).expand_as(ratios)
    x = torch.where(known, place - (place * known).sum(1, keepdim=True) / number, 0.0)
    # The mean of y drops out: x sums to 0. Taking it away all the same keeps the digits of small changes.
    y = torch.where(known, ratios, 0.0)
    y = torch.where(known, y - y.sum(1, keepdim=True) / number, 0.0)
    return (x * y).sum(1) / x.square().sum(1).clamp(min=TINY)


def _normalised(slopes: Tensor) -> Tensor:
    """``slopes`` [..., N] times their number over the sum of their magnitudes, NaN left out."""
    known = slopes.isfinite()
    slopes = torch.where(known, slopes, 0.0)
    return known.sum(-1, keepdim=True) * slopes / slopes.abs().sum(-1, keepdim=True).clamp(min=TINY)


def _softmax(scores: Tensor, where: Tensor) -> Tensor:
    return scores.masked_fill(~where, -math.inf).softmax(-1)
