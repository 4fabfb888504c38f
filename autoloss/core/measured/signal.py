"""What every signal says about itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor

from autoloss.core.need import Need

if TYPE_CHECKING:
    import torch.distributed as dist

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Rows:
    """The gradients of K losses at the anchor, as the rows of ``values`` [K, P].

    ``sizes`` says how many of the P coordinates each tensor of the anchor has, ``items`` how many items (the anchor's
    first dimension) there are. Where losses have anchors of their own, ``of_loss`` holds the places of each one's
    tensors, and ``items`` a number for each loss. ``group`` is the process group for sums over ranks, the default one
    if ``None``. With ``at_once`` all rows are read at once: few kernels, and as much memory as the rows again.
    """

    values: Tensor
    sizes: Sequence[int]
    items: int | tuple[int, ...]
    at_once: bool = False
    group: dist.ProcessGroup | None = None
    of_loss: tuple[tuple[int, ...], ...] | None = None

    def items_each(self) -> tuple[int, ...]:
        """The number of items of each loss."""
        return self.items if isinstance(self.items, tuple) else (self.items,) * len(self.values)

    def widths(self) -> tuple[int, ...]:
        """The number of coordinates of each loss's anchor."""
        if self.of_loss is None:
            return (self.values.shape[1],) * len(self.values)
        return tuple(sum(self.sizes[i] for i in of) for of in self.of_loss)


@dataclass(frozen=True)
class MicroBatches:
    """The S micro-batches of a window: ``shares`` [S, K] of their items, and their ``items`` at the anchor [K].

    ``gradients`` are those at parameters, [K, P] for each micro-batch; none at features.
    """

    shares: Tensor
    items: Sequence[tuple[int, ...]]
    gradients: Sequence[Tensor]

    @cached_property
    def mean_gradient(self) -> Tensor | None:
        """The gradient of the window's mean loss, [K, P]; ``None`` at features, where each sample has its own."""
        if len(self.gradients) < len(self.shares):
            return None
        first, *others = (share[:, None] * row for share, row in zip(self.shares, self.gradients, strict=True))
        return sum(others, start=first)


class StepOutcome(Protocol):
    """What can be measured of an optimiser step after it."""

    def again(self) -> list[Tensor]:
        """The losses [K] of each micro-batch, computed again with the parameters after the step."""

    def alignment(self) -> Tensor | None:
        """How fast a held-out objective falls with the weight of each loss, [K]; ``None`` if no step was taken."""

    def held_out(self) -> tuple[Tensor, Tensor]:
        """The losses [K] of a held-out batch with the parameters after the step, and which of them it has [K]."""


class Recorded(Protocol):
    """The columns of a record as tensors; NaN where nothing was recorded."""

    cosines: Tensor

    def of(self, kind: str) -> Tensor:
        """The columns of ``kind``, [T, K]."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Random losses and gradients that the test streams make signals of.

    ``losses`` [T, K], ``falls`` [T, K] (uniform in [0, 1)), and a ``jacobian`` [T, K, items, width].
    """

    losses: Tensor
    falls: Tensor
    jacobian: Tensor
    seed: int


class Signal(ABC, Generic[V]):
    """One signal: a tensor whose first ``axes`` dimensions index losses, or a dataclass of such tensors.

    ``signals.name`` reads it where :attr:`need` asked for it; the field ``measured_name`` holds it. ``cost`` is a
    sentence for the component's card, ``passes`` the same in a few words. ``absent`` is what stands in the place of an
    absent loss. ``steep`` says that it scales with the gradients of the losses, not with the losses.
    """

    name: ClassVar[str]
    need: ClassVar[Need]
    cost: ClassVar[str]
    passes: ClassVar[str]
    axes: ClassVar[int] = 1
    steep: ClassVar[bool] = True
    absent: ClassVar[float] = 0.0

    @property
    def field(self) -> str:
        """The field of :class:`Signals` that holds it."""
        return f"measured_{self.name}"

    def tensors(self, value: V) -> dict[str, Tensor]:
        """The tensors of ``value`` by name."""
        return {self.name: cast(Tensor, value)}

    def map(self, function: Callable[[Tensor], Tensor], value: V) -> V:
        """``value`` with ``function`` applied to each of its tensors."""
        return cast(V, function(cast(Tensor, value)))

    def watched(self, value: V, present: Tensor) -> Tensor | None:
        """What must be finite for the weighting to learn; absent losses count for nothing."""
        return cast(Tensor, value)

    @abstractmethod
    def merged(self, values: Sequence[V], window: MicroBatches) -> V:
        """The signal of a window of micro-batches, from that of each micro-batch."""

    @abstractmethod
    def drawn(self, drawn: Drawn) -> V:
        """A random trajectory [T, ...] of this signal, for the conformance suites."""


class AtAnchor(Signal[V]):
    """A signal that compares the losses' gradients at the anchor.

    ``columns`` are the kinds of columns of the record that hold it, each with the name of its tensor; ``kinds`` are
    all that a replay reads. ``unrecorded`` is the error of a replay without them.
    """

    columns: ClassVar[Mapping[str, str]] = {}
    kinds: ClassVar[tuple[str, ...]]
    unrecorded: ClassVar[str]

    @abstractmethod
    def measure(self, rows: Rows) -> V:
        """The signal of the gradients ``rows``."""

    @abstractmethod
    def over_ranks(self, value: V, rows: Rows) -> V:
        """The signal of all ranks' samples together, from that of this rank; called for features only.

        There the gradient of the union's mean loss is 1 / ranks of the local one, since DDP averages.
        """

    @abstractmethod
    def replayed(self, recorded: Recorded) -> V:
        """The signal at each of the T recorded steps, [T, ...]."""


class AfterStep(Signal[Tensor]):
    """A signal that is measured after an optimiser step; only ``update`` can read it."""

    @abstractmethod
    def measure(self, outcome: StepOutcome) -> Tensor | list[Tensor] | None:
        """The signal [K] of the window, or one for each of its micro-batches; ``None`` if there is none."""

    def merged(self, values: Sequence[Tensor], window: MicroBatches) -> Tensor:
        """The mean over the window's items."""
        return (window.shares * torch.stack(list(values))).sum(0)


AnySignal = Signal[Any]
