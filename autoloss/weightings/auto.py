"""One rule for any losses: half the balance of gradient norms."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.space import Interval
from autoloss.core.weighting import Weighting

SMALLEST = 1e-12  # relative to the largest of all losses: what is below counts as this, so that it has a logarithm


class Auto(Weighting):
    """Balances the losses half: ``w_k = c n_k^-0.5``, n_k the slow average of the norm of loss k's gradient.

    With the exponent 0 these would be equal weights, with 1 all gradients would have one length, which buys one metric
    with another. c is such that ``sum_k w_k n_k = r sum_k n_k``. With r = 1 the gradients together are as long as with
    equal weights, so that a learning rate that suits these suits the rule, also under SGD. As they become shorter in
    training, r rises: ``r = (first sum_k n_k / sum_k n_k)^0.5``, in [1, 10], so that they fall half as fast, in
    logarithm. This acts as a larger learning rate late in training, above all with Adam, whose memory of longer
    gradients makes its steps short. One loss alone has the weight 1. Losses that are not balanced keep their weights:
    late in training they may count up to ten times less beside the others.

    The whole rule, the same for every loss and any number of them; the parts whose numbers are 0 are left out::

        log w_k = -(norm + norm_slope p) log n_k - (loss + loss_slope p) log l_k
                  - (fall + fall_slope p) log(l_k / first l_k) - (cosine + cosine_slope p) cos_k + log c

    with p the progress of training from 0 to 1 (0 if its length is not known), l_k the slow average of ``|L_k|``, and
    cos_k the cosine of loss k's gradient with the mean of all directions.

    **Without an anchor** no gradients are compared, and a weaker rule is used: ``w_k = c l_k^-0.25``, with
    ``sum_k w_k l_k = sum_k l_k``. The report of the run says so, and its record has no columns ``grad_norm``.

    **Where its numbers come from.** ``keep``, ``rise``, ``highest`` and ``decay`` were chosen on made-up problems
    (teacher networks, drawn pictures, tables, autoencoders, advection and reaction equations). Evolution over trainings
    on these (``autoloss meta meta.by=evolution``) found no rule of more numbers that is as safe: its centre wandered
    along rules whose exponents sum to about 0.5. So this is half balance, and not a learned rule; the gains on families
    of problems that it has not seen, and those that get worse, are in ``benchmarks/results/auto_zoo.md``.

    Args:
        norm: exponent of the gradient's norm.
        loss: exponent of the loss.
        fall: exponent of the part of its first value that the loss still has; below 0 for more weight on slow losses.
        cosine: above 0 for less weight on losses that agree with the others.
        norm_slope: how much ``norm`` grows from the first step to the last.
        loss_slope: the same of ``loss``.
        fall_slope: the same of ``fall``.
        cosine_slope: the same of ``cosine``.
        keep: 1 keeps the length of all gradients together, 0 the sum of the weights, K; in [0, 1].
        rise: exponent of r, at least 0; 0 for r = 1. With ``keep=0``, and without an anchor, there is no r.
        highest: the largest r, at least 1.
        alone: exponent of the loss where there is no anchor.
        decay: of the slow averages from one measurement to the next, in [0, 1): they are plain averages in the first
            1 / (1 - decay) measurements or so. This step's number is in the average that its weights are made from.
        widest: no weight is more than so many times the smallest one, above 1; with ``keep=1`` each, divided by r, lies
            between the inverse of this number and itself. So a loss whose gradient vanishes takes nothing from the
            others.
    """

    norms: Tensor
    compared: Tensor
    levels: Tensor
    seen: Tensor
    first: Tensor
    first_norms: Tensor
    needs = Need.VALUES | Need.GRAM
    optional = Need.GRAM
    own_scale = True
    claims = frozenset({"permutation_equivariant", "common_scale_invariant"})
    search_space = {"norm": Interval(0.25, 1.0)}
    use = "Any losses, as the first thing to try."
    avoid = (
        "One metric alone counts (search for its weights). Autoencoders and equations that are trained long: the mean "
        "gains, and single problems get worse by a tenth to a fifth."
    )
    citation = "ours; with the exponent 1 it is GradNorm's fixed point for alpha = 0"

    def __init__(
        self,
        norm: float = 0.5,
        loss: float = 0.0,
        fall: float = 0.0,
        cosine: float = 0.0,
        norm_slope: float = 0.0,
        loss_slope: float = 0.0,
        fall_slope: float = 0.0,
        cosine_slope: float = 0.0,
        keep: float = 1.0,
        rise: float = 0.5,
        highest: float = 10.0,
        alone: float = 0.25,
        decay: float = 0.97,
        widest: float = 10000.0,
    ) -> None:
        super().__init__()
        require(0 <= keep <= 1, "`keep` must lie in [0, 1]", f"keep={keep}")
        require(rise >= 0, "`rise` must be at least 0", f"rise={rise}")
        require(highest >= 1, "`highest` must be at least 1", f"highest={highest}")
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        require(widest > 1, "`widest` must be above 1", f"widest={widest}")
        self.norm, self.norm_slope = norm, norm_slope
        self.loss, self.loss_slope = loss, loss_slope
        self.fall, self.fall_slope = fall, fall_slope
        self.cosine, self.cosine_slope = cosine, cosine_slope
        self.keep, self.rise, self.highest = keep, rise, highest
        self.alone, self.decay, self.widest = alone, decay, widest

    def allocate(self, size: int) -> None:
        # Sums with weights that fall by `decay` each time, and the sums of these weights: 0 before there is one.
        for name in ("norms", "compared", "levels", "seen", "first", "first_norms"):
            self.add_state(name, torch.zeros(size), axes=1)

    def forward(self, signals: Signals) -> Tensor:
        measured = signals.measured_gram is not None
        if measured:
            sizes = self._norms(signals)
            score = self._score(signals, sizes)
        else:
            sizes = self._levels(signals)
            score = self.alone * _logarithms(signals, sizes)
        highest = torch.where(signals.present, score, -torch.inf).amax()
        weights = signals.sum_to_count(torch.exp(highest - score).clamp(max=self.widest))
        if not _on(self.keep):
            return weights
        length = signals.mean(sizes)
        kept = length / signals.mean(weights * sizes)
        if _on(self.rise) and measured and len(signals.names) > 1:
            kept = kept * self._risen(signals, sizes, length)
        return weights * torch.where(kept > 0, kept, 1.0) ** self.keep  # 0 / 0 where no loss has a gradient

    def _risen(self, signals: Signals, sizes: Tensor, length: Tensor) -> Tensor:
        """How much longer than with equal weights the gradients are made, r: more as they become shorter."""
        risen = (signals.mean(_first(self.first_norms, self.compared, sizes)) / length) ** self.rise
        # Twice: in a fleet `highest` may be a tensor, and both ends of one call must be of one kind.
        risen = risen.clamp(min=1.0).clamp(max=self.highest)
        if signals.whole:
            return risen
        # Of the balanced losses some may be absent now; beside one alone there is nothing to rise with.
        return torch.where(((self.compared > 0) | signals.present).sum() > 1, risen, 1.0)

    def update(self, signals: Signals) -> None:
        compares = signals.measured_gram is not None
        if compares:
            _add(self.norms, self.compared, self.first_norms, _lengths(signals), self.decay)
        if not compares or self._uses_losses():
            _add(self.levels, self.seen, self.first, signals.values.abs(), self.decay)

    def _uses_losses(self) -> bool:
        """Whether the rule with an anchor has a part that depends on the losses' values."""
        return _on(self.loss, self.loss_slope, self.fall, self.fall_slope)

    def _score(self, signals: Signals, norms: Tensor) -> Tensor:
        p = signals.progress
        score = (self.norm + self.norm_slope * p) * _logarithms(signals, norms)
        if self._uses_losses():
            levels = self._levels(signals)
            now = _logarithms(signals, levels)
            first = _logarithms(signals, _first(self.first, self.seen, levels))
            score = score + (self.loss + self.loss_slope * p) * now + (self.fall + self.fall_slope * p) * (now - first)
        if _on(self.cosine, self.cosine_slope):
            score = score + (self.cosine + self.cosine_slope * p) * _cosines(signals)
        return score

    def _norms(self, signals: Signals) -> Tensor:
        return _average(self.norms, self.compared, _lengths(signals), self.decay)

    def _levels(self, signals: Signals) -> Tensor:
        return _average(self.levels, self.seen, signals.values.abs(), self.decay)


def _average(total: Tensor, number: Tensor, now: Tensor, decay: float) -> Tensor:
    """The average of what was added before and of ``now``."""
    return now.lerp(total, decay) / (1 - decay + decay * number)


def _add(total: Tensor, number: Tensor, first: Tensor, now: Tensor, decay: float) -> None:
    begun = number > 0
    total.copy_(now.lerp(total, decay))
    number.copy_(1 - decay + decay * number)
    first.copy_(torch.where(begun, first, total / number))


def _first(first: Tensor, number: Tensor, now: Tensor) -> Tensor:
    """The first averages; those of ``now`` where there is none yet."""
    return torch.where(number > 0, first, now)


def _lengths(signals: Signals) -> Tensor:
    return signals.gram.diagonal().clamp(min=0).sqrt()


def _logarithms(signals: Signals, sizes: Tensor) -> Tensor:
    """The logarithms of ``sizes`` [K], which are at least 0."""
    largest = torch.where(signals.present, sizes, 0.0).amax().clamp(min=1e-25)
    return sizes.maximum(largest * SMALLEST).log()


def _cosines(signals: Signals) -> Tensor:
    """The cosine [K] of each gradient with the mean of the directions of all; 0 for a gradient of 0."""
    norms = _lengths(signals)
    directions = torch.where(norms > 0, 1 / norms, 0.0)
    along = (signals.gram * directions * directions[:, None]).sum(1)
    return along / along.sum().clamp(min=1e-12).sqrt()


def _on(*numbers: Any) -> bool:
    """Whether a part of the rule is used; in a fleet a number may be a tensor, one for each member."""
    return any(isinstance(number, Tensor) or number != 0 for number in numbers)
