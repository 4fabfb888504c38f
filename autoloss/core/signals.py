"""What was measured in one step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from autoloss.core.errors import SignalError
from autoloss.core.measured.after import AFTER
from autoloss.core.measured.alignment import ALIGNMENT
from autoloss.core.measured.gram import GRAM
from autoloss.core.measured.held_out import HELD_OUT
from autoloss.core.measured.kernel import KERNEL
from autoloss.core.measured.signal import AfterStep, AnySignal, AtAnchor, Signal
from autoloss.core.measured.stats import STATS, Stats
from autoloss.core.tensors.constants import constant, number

__all__ = ["AFTER_STEP", "AT_ANCHOR", "SIGNALS", "Signals", "Stats"]

# The most expensive first.
SIGNALS: tuple[AnySignal, ...] = (ALIGNMENT, HELD_OUT, AFTER, KERNEL, GRAM, STATS)
AT_ANCHOR: tuple[AtAnchor[Any], ...] = tuple(one for one in SIGNALS if isinstance(one, AtAnchor))
AFTER_STEP: tuple[AfterStep, ...] = tuple(one for one in SIGNALS if isinstance(one, AfterStep))
V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Signals:
    """What was measured this step: detached, float32, equal on every rank.

    ``names`` is the order of every [K] tensor. ``values`` [K] holds 1 where a loss is absent, so
    that logarithms and ratios stay finite; an average over losses must be masked with ``present``
    [K] (bool). A loss that is NaN is present: an absent loss is no error, a NaN loss is one. ``whole`` says that
    all losses are present, where that is known without asking the device; it saves some kernels.
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
    measured_held_out: Tensor | None = None
    measured_kernel: Tensor | None = None

    @property
    def after(self) -> Tensor:
        """The losses [K] of the same batch after the optimiser's step; only ``update`` can read it."""
        return _known(self.measured_after, AFTER)

    @property
    def alignment(self) -> Tensor:
        """How far the held-out objective falls for each unit of a loss's weight, [K]; only ``update`` can read it.

        ``-d L_held(p') / d w_k`` with p' the parameters after the optimiser's step; 0 for absent losses.
        """
        return _known(self.measured_alignment, ALIGNMENT)

    @property
    def held_out(self) -> Tensor:
        """The losses [K] of a held-out batch after the step; NaN where absent; only ``update`` can read it."""
        return _known(self.measured_held_out, HELD_OUT)

    @property
    def gram(self) -> Tensor:
        """[K, K] inner products of the losses' gradients at the anchor; rows of absent losses are 0."""
        return _known(self.measured_gram, GRAM)

    @property
    def kernel(self) -> Tensor:
        """The traces [K] of the losses' neural tangent kernels at the anchor, over the numbers of their samples."""
        return _known(self.measured_kernel, KERNEL)

    @property
    def stats(self) -> Stats:
        """Statistics of the losses' gradients at the anchor."""
        return _known(self.measured_stats, STATS)

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
        """``x`` [K] scaled so that the present entries sum to their number; absent entries are 0.

        >>> import torch
        >>> signals = Signals(("a", "b"), torch.ones(2), torch.tensor([True, True]))
        >>> signals.sum_to_count(torch.tensor([1.0, 3.0]))
        tensor([0.5000, 1.5000])
        """
        x = self._masked(x)
        return x * (self.count / x.sum())

    def softmax(self, x: Tensor) -> Tensor:
        """Softmax of ``x`` [K] over the present losses; 0 for absent losses."""
        return (x if self.whole else x.masked_fill(~self.present, -float("inf"))).softmax(0)

    def finite(self) -> Tensor:
        """A scalar bool tensor: whether everything that was measured of present losses is finite."""
        of = [self.values]
        for signal in SIGNALS:
            value = getattr(self, signal.field)
            watched = None if value is None else signal.watched(value, self.present)
            if watched is not None:
                of.append(watched)
        # The maximum is NaN if any entry is. Absent losses have the value 1.
        return torch.cat([each.reshape(-1).float() for each in of]).abs().amax() < number(math.inf, self.values.device)

    def _masked(self, x: Tensor) -> Tensor:
        return x if self.whole else x.where(self.present, x.new_zeros(()))


def _known(value: V | None, signal: Signal[V]) -> V:
    if value is None:
        raise SignalError(
            f"signals.{signal.name} must be measured before it is read, but this weighting's needs do "
            f"not name it at this step. Add Need.{signal.need.name} to `needs`."
        )
    return value
