"""What was measured in one step."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import SignalError
from autoloss.core.tensors.constants import constant


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of each loss's gradient at the anchor, [K] each.

    ``item_norm`` is the mean over items (the anchor's first dimension) of the gradient's norm for
    that item, ``largest`` the largest magnitude of a coordinate, ``mean`` the mean magnitude.
    """

    item_norm: Tensor
    largest: Tensor
    mean: Tensor


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured this step: detached, float32, equal on every rank.

    ``names`` is the order of every [K] tensor. ``values`` [K] holds 1 where a loss is absent, so
    that logarithms and ratios stay finite; whoever averages over losses masks with ``present``
    [K] (bool). A loss that is NaN is present: absence is not an error, NaN is. ``whole`` says that
    all are present, where that is known without the device: some kernels fewer.
    """

    names: tuple[str, ...]
    values: Tensor
    present: Tensor
    step: int = 0
    epoch: int = 0
    progress: float = 0.0
    plateaus: int = 0
    measured_gram: Tensor | None = None
    measured_stats: Stats | None = None
    measured_after: Tensor | None = None
    measured_alignment: Tensor | None = None
    whole: bool = False

    @property
    def after(self) -> Tensor:
        """The losses [K] of the same batch after the optimiser's step; known to ``update`` alone."""
        if self.measured_after is None:
            raise _undeclared("after", "LOOKAHEAD")
        return self.measured_after

    @property
    def alignment(self) -> Tensor:
        """How far the held-out objective falls for each unit of a loss's weight, [K]; known to ``update`` alone.

        ``-d L_held(p') / d w_k`` with p' the parameters after the optimiser's step; 0 for absent losses.
        """
        if self.measured_alignment is None:
            raise _undeclared("alignment", "ALIGNMENT")
        return self.measured_alignment

    @property
    def gram(self) -> Tensor:
        """[K, K] inner products of the losses' gradients at the anchor; rows of absent losses 0."""
        if self.measured_gram is None:
            raise _undeclared("gram", "GRAM")
        return self.measured_gram

    @property
    def stats(self) -> Stats:
        """Statistics of the losses' gradients at the anchor."""
        if self.measured_stats is None:
            raise _undeclared("stats", "STATS")
        return self.measured_stats

    @property
    def count(self) -> Tensor:
        """The number of present losses, a scalar tensor, at least 1."""
        if self.whole:
            return constant((float(len(self.names)),), self.present.device)[0]
        return self.present.sum().clamp(min=1)

    def mean(self, x: Tensor) -> Tensor:
        """The mean of ``x`` [K] over the present losses."""
        return self._masked(x).sum() / self.count

    def sum_to_count(self, x: Tensor) -> Tensor:
        """``x`` [K] scaled so that the present entries sum to their number; absent ones 0.

        >>> import torch
        >>> signals = Signals(("a", "b"), torch.ones(2), torch.tensor([True, True]))
        >>> signals.sum_to_count(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
        """
        x = self._masked(x)
        return x * (self.count / x.sum())

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax of ``x`` [K] over the present losses; absent ones 0."""
        return (x if self.whole else x.masked_fill(~self.present, -float("inf"))).softmax(0)

    def finite(self) -> Tensor:
        """A scalar bool tensor: is everything that was measured of present losses finite?"""
        of = [self.values]
        if self.measured_gram is not None:
            of.append(self.measured_gram)
        if self.measured_stats is not None:
            of.append(self.measured_stats.item_norm)
        if self.measured_after is not None:
            of.append(torch.where(self.present, self.measured_after, 0.0))
        if self.measured_alignment is not None:
            of.append(self.measured_alignment)
        # The largest magnitude of all: NaN if there is one. Absent losses have the value 1.
        return torch.cat([each.reshape(-1).float() for each in of]).abs().amax() < math.inf

    def _masked(self, x: Tensor) -> Tensor:
        return x if self.whole else x.where(self.present, x.new_zeros(()))


def _undeclared(attribute: str, member: str) -> SignalError:
    return SignalError(
        f"signals.{attribute} must be measured before it is read, but this weighting's needs do "
        f"not name it at this step. Add Need.{member} to `needs`."
    )
