"""What a sample weighting sees: the losses of one term, one for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autoloss.core.errors import SignalError, unknown


@dataclass(frozen=True, slots=True)
class Samples:
    """One term's losses of one batch: detached, float32, of this rank.

    ``losses`` [B] holds 0 where ``present`` [B] (bool) is false, which a mask makes it. ``known_index`` [B] holds the
    samples' positions in the training data, ``known_labels`` [B] their classes, ``keys`` further data of each sample.
    """

    term: str
    losses: Tensor
    present: Tensor
    step: int = 0
    epoch: int = 0
    progress: float = 0.0
    known_index: Tensor | None = None
    known_labels: Tensor | None = None
    measured_slopes: Tensor | None = None
    keys: Mapping[str, Tensor] = field(default_factory=dict)
    measured_alignment: Tensor | None = None

    @property
    def alignment(self) -> Tensor:
        """How fast a held-out objective falls when the parameters move down each sample's gradient, [B]."""
        if self.measured_alignment is None:
            raise _undeclared("alignment", "ALIGNMENT")
        return self.measured_alignment

    @property
    def index(self) -> Tensor:
        """The samples' positions in the training data, [B]."""
        if self.known_index is None:
            raise _undeclared("index", "INDEX")
        return self.known_index

    @property
    def labels(self) -> Tensor:
        """The samples' classes, [B]."""
        if self.known_labels is None:
            raise _undeclared("labels", "LABELS")
        return self.known_labels

    @property
    def slopes(self) -> Tensor:
        """The derivatives [B] of the losses with respect to the temperatures; only ``update`` can read them."""
        if self.measured_slopes is None:
            raise _undeclared("slopes", "SLOPES")
        return self.measured_slopes

    @property
    def count(self) -> Tensor:
        """The number of present samples, a scalar tensor, at least 1."""
        return self.present.sum().clamp(min=1)

    def key(self, name: str) -> Tensor:
        """The data's key ``name`` of each sample, [B]: that of this term alone, ``TERM.name``, if the data have it."""
        own = f"{self.term}.{name}"
        if own not in self.keys and name not in self.keys:
            raise unknown("key of the data", name, self.keys)
        found = self.keys[own] if own in self.keys else self.keys[name]
        if found.shape != self.losses.shape:
            raise SignalError(
                f"A key of the data must have one value for each sample of loss {self.term!r}, "
                f"{list(self.losses.shape)}, but {name!r} is {list(found.shape)}. Give that loss its own key, {own!r}."
            )
        return found

    def mean(self, x: Tensor) -> Tensor:
        """The mean of ``x`` [B] over the present samples; 0 if there is none."""
        return x.where(self.present, x.new_zeros(())).sum() / self.count

    def ranks(self) -> Tensor:
        """How many present samples have a smaller loss, [B]; equal losses in the order of the batch."""
        filled = self.losses.masked_fill(~self.present, float("inf"))
        return filled.argsort(stable=True).argsort()

    def quantile(self, share: float) -> Tensor:
        """The ``share``-quantile of the present samples' losses, a scalar tensor; interpolated linearly.

        >>> samples = Samples("a", torch.tensor([3.0, 1.0, 2.0]), torch.ones(3, dtype=torch.bool))
        >>> samples.quantile(0.25)
        tensor(1.5000)
        """
        if not len(self.losses):
            return self.losses.new_zeros(())
        ordered = self.losses.masked_fill(~self.present, float("inf")).sort().values
        at = share * (self.count - 1)
        low = at.floor().long()
        pair = ordered.gather(0, torch.stack([low, torch.minimum(low + 1, self.count - 1)]))
        pair = pair.where(pair.isfinite(), pair.new_zeros(()))
        return pair[0].lerp(pair[1], (at - low).to(pair.dtype))

    def finite(self) -> Tensor:
        """A scalar bool tensor: whether everything that was measured of present samples is finite."""
        ok = self.losses.isfinite()
        if self.measured_alignment is not None:
            ok = ok & self.measured_alignment.isfinite()
        if self.measured_slopes is not None:
            ok = ok & self.measured_slopes.isfinite()
        return (ok | ~self.present).all()


def _undeclared(attribute: str, member: str) -> SignalError:
    return SignalError(
        f"samples.{attribute} must be known before it is read, but this sample weighting's needs do not name it. "
        f"Add SampleNeed.{member} to `needs`."
    )
