"""What a sample weighting sees: the losses of one term, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from autoloss.core.errors import SignalError, unknown


@dataclass(frozen=True, slots=True)
class Samples:
    """One term's losses of one batch: detached, float32, of this rank.

    ``losses`` [B] holds 0 where ``present`` [B] (bool) is not: what is masked. ``known_index`` [B] says which
    samples of the training data they are, ``known_labels`` [B] of which class, ``keys`` what else the data say.
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
        """How fast a held-out objective falls as the parameters go down each sample's gradient, [B]."""
        if self.measured_alignment is None:
            raise _undeclared("alignment", "ALIGNMENT")
        return self.measured_alignment

    @property
    def index(self) -> Tensor:
        """Which samples of the training data they are, [B]."""
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
        """The derivatives [B] of the losses in the temperatures; known to ``update`` alone."""
        if self.measured_slopes is None:
            raise _undeclared("slopes", "SLOPES")
        return self.measured_slopes

    @property
    def count(self) -> Tensor:
        """The number of present samples, a scalar tensor, at least 1."""
        return self.present.sum().clamp(min=1)

    def key(self, name: str) -> Tensor:
        """What the data say of each sample under ``name``, [B]."""
        if name not in self.keys:
            raise unknown("key of the data", name, self.keys)
        return self.keys[name]

    def mean(self, x: Tensor) -> Tensor:
        """The mean of ``x`` [B] over the present samples; 0 if there is none."""
        return x.where(self.present, x.new_zeros(())).sum() / self.count

    def ranks(self) -> Tensor:
        """How many present samples have a smaller loss, [B]; equal losses in the order of the batch."""
        filled = self.losses.masked_fill(~self.present, float("inf"))
        return filled.argsort(stable=True).argsort()

    def quantile(self, share: float) -> Tensor:
        """The loss that ``share`` of the present samples do not exceed, a scalar tensor; linear in between.

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
        """A scalar bool tensor: is everything that was measured of present samples finite?"""
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
