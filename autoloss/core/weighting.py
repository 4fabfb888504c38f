"""A weighting is a function from signals to K weights."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from autoloss.core.component import Component
from autoloss.core.errors import ConfigError, require
from autoloss.core.need import Need
from autoloss.core.signals import Signals
from autoloss.core.tensors.derivatives import gradient
from autoloss.core.tensors.precision import exact
from autoloss.core.tensors.state import StateModule, on_host

CLAIMS = {
    "sums_to_count": "the weights of the present losses sum to their number",
    "permutation_equivariant": "losses in another order get the same weights in that order",
    "loss_scale_invariant": "a loss multiplied by c > 0 gets its weight divided by c, the others keep theirs",
    "common_scale_invariant": "all losses multiplied by one c > 0 get the same weights, up to a common factor",
    "non_conflicting": "a step down the weighted sum increases no loss: gram @ weights >= 0",
}


class Weighting(Component, StateModule, ABC):
    """Turns the signals of a step into K weights.

    Subclasses declare ``needs``, allocate their state in :meth:`allocate`, read it in
    :meth:`forward` and write it in :meth:`update`. They never call ``backward``, never see the
    model, and hold buffers, not parameters. ``claims`` names the properties (keys of :data:`CLAIMS`)
    that the conformance suite then asserts; ``positive`` says that every loss must be above 0, or above
    what :meth:`least` gives: a smaller one is an error that names the loss, the step and the ``remedy``.
    ``follows`` names what the weights are a function of that training must say: "progress" or "epoch".
    ``optional`` is the part of ``needs`` at an anchor that it does without where training has no anchor. ``own_scale``
    says that the size of its weights is bounded and belongs to the method: a search does not make them sum to K.
    """

    needs: ClassVar[Need] = Need.VALUES
    optional: ClassVar[Need] = Need(0)
    claims: ClassVar[frozenset[str]] = frozenset()
    follows: frozenset[str] = frozenset()
    positive: ClassVar[bool] = False
    own_scale: ClassVar[bool] = False
    remedy: ClassVar[str] = "Shift that loss"
    names: tuple[str, ...] = ()

    def needs_at(self, step: int) -> Need:
        """What must be measured at optimiser step ``step``; part of ``needs``."""
        return self.needs

    def needs_here(self, step: int, anchored: bool) -> Need:
        """What must be measured at optimiser step ``step`` of a training with or without an anchor."""
        needs = self.needs_at(step)
        return needs if anchored else needs & ~self.optional

    def bind(self, names: Sequence[str]) -> Weighting:
        """Set the names and the order of the losses, and allocate the state for them."""
        require(len(names) > 0, "A weighting needs at least one loss", "there is none")
        self.names = tuple(names)
        with on_host(), exact():
            self.allocate(len(names))
        return self

    def __call__(self, signals: Signals) -> Tensor:
        """The weights [K] by :meth:`forward`, in float32 whatever autocast and torch's default dtype are."""
        with exact(signals.values.device.type):
            weights: Tensor = super().__call__(signals)
        return weights

    def allocate(self, size: int) -> None:
        """Register the state for ``size`` losses with :meth:`add_state`; stateless by default."""

    @abstractmethod
    def forward(self, signals: Signals) -> Tensor:
        """The weights [K]. Reads state and never writes it; entries of absent losses are ignored."""

    def update(self, signals: Signals) -> None:
        """Learn from ``signals``: called once for each optimiser step, after ``forward``."""

    def least(self) -> tuple[float, ...]:
        """The least value that each loss may have, [K], where ``positive`` says that there is one."""
        return (0.0,) * len(self.names)

    def export(self) -> dict[str, Any] | None:
        """What a run on other losses can start from: tensors and plain values; ``None`` if there is nothing."""
        return None

    def per_loss(self, given: Mapping[str, float], missing: float = 1.0) -> Tensor:
        """The numbers ``given`` by loss name as a tensor [K], ``missing`` for the others."""
        strange = [name for name in given if name not in self.names]
        if strange:
            raise ConfigError(
                f"A number by loss must name a loss, but there is no loss {', '.join(map(repr, strange))}. "
                f"The losses are: {', '.join(self.names)}."
            )
        return torch.tensor([float(given.get(name, missing)) for name in self.names])


class Scalarization(Weighting):
    """A combination rule S(L): write :meth:`scalar`, and the weights are its gradient dS/dL."""

    @abstractmethod
    def scalar(self, values: Tensor, signals: Signals) -> Tensor:
        """S(L), a scalar, of the loss values [K]; absent losses must not enter."""

    def forward(self, signals: Signals) -> Tensor:
        return gradient(lambda values: self.scalar(values, signals), signals.values)


class Wrapper(Weighting):
    """A weighting around a weighting. It is a weighting itself, so that wrappers can be nested.

    Its own state is allocated after the inner weighting's; its ``update`` must call the inner weighting's ``update``.
    """

    def __init__(self, inner: Weighting) -> None:
        super().__init__()
        self.inner = inner
        self.needs, self.positive, self.remedy = inner.needs, inner.positive, inner.remedy  # type: ignore[misc]
        self.optional = inner.optional  # type: ignore[misc]
        self.follows = inner.follows

    def needs_at(self, step: int) -> Need:
        return self.inner.needs_at(step)

    def bind(self, names: Sequence[str]) -> Weighting:
        self.inner.bind(names)
        return super().bind(names)

    def update(self, signals: Signals) -> None:
        self.inner.update(signals)

    def least(self) -> tuple[float, ...]:
        return self.inner.least()

    def export(self) -> dict[str, Any] | None:
        return self.inner.export()
