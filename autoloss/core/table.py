"""The losses of one batch, and how they become K scalars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autoloss.core.errors import ConfigError
from autoloss.core.tensors.constants import constant, flags, number
from autoloss.core.tensors.presence import presence
from autoloss.core.tensors.ranks import sum_over_ranks, world_size

Tensors = Tensor | Sequence[Tensor] | Iterator[Tensor] | nn.Module
Anchor = Tensors | Mapping[str, Tensors]


@dataclass(frozen=True, slots=True)
class Entry:
    """One loss of one batch.

    ``values`` is one number for each sample, [B] (any shape will do), or a scalar that is a mean
    already. ``mask``, bool and of the same shape, says which items are present. A loss that is
    not ``balanced`` keeps its base weight, and the weighting does not see it. If some processes may lack the
    entry, name the loss in ``unbalanced`` instead, so that all processes know. ``labels`` [B] are
    the samples' classes, for sample weightings that ask for them. Samples that a loss marked as without a label are
    masked too.
    """

    values: Tensor
    mask: Tensor | None = None
    balanced: bool = True
    labels: Tensor | None = None

    def __post_init__(self) -> None:
        known = presence(self.values)
        if known is not None and known.shape == self.values.shape:
            both = self.mask is not None and self.mask.shape == known.shape and self.mask.dtype == torch.bool
            if self.mask is None or both:
                object.__setattr__(self, "mask", known if self.mask is None else known & self.mask)

    def local(self) -> tuple[Tensor, Tensor | float]:
        """The sum over the present items of this rank, and their number."""
        if self.values.is_complex():
            raise ConfigError("A loss must be real numbers, but one is complex. Take its .abs() or .real.")
        values = self.values if self.values.dtype == torch.float64 else self.values.float()
        if self.mask is None:
            return (values.sum(), float(values.numel())) if values.dim() else (values, 1.0)
        self._check_mask()
        return torch.where(self.mask, values, values.new_zeros(())).sum(), self.mask.sum().float()

    def samples(self) -> tuple[Tensor, Tensor]:
        """The detached loss of each sample [B], a mean over its present items; and whether it has any [B]."""
        values, present = self.each()
        return values.detach(), present

    def each(self) -> tuple[Tensor, Tensor]:
        """The same as :meth:`samples`, with a graph."""
        values = self.values.float().flatten(1) if self.values.dim() > 1 else self.values.float()
        if self.mask is None:
            return (values.mean(1) if values.dim() > 1 else values), torch.ones(
                len(values), dtype=torch.bool, device=values.device
            )
        self._check_mask()
        mask = self.mask.flatten(1) if self.mask.dim() > 1 else self.mask[:, None]
        kept = torch.where(mask, values.view_as(mask), 0.0)
        return kept.sum(1) / mask.sum(1).clamp(min=1), mask.any(1)

    def _check_mask(self) -> None:
        if self.mask is not None and self.mask.dtype != torch.bool:
            raise ConfigError(f"A loss's mask must be bool, true for present items, but it is {self.mask.dtype}.")
        if self.mask is not None and self.mask.shape != self.values.shape:
            raise ConfigError(
                "A loss's mask must have the shape of its values, but the values are "
                f"{list(self.values.shape)} and the mask is {list(self.mask.shape)}."
            )


Losses = Mapping[str, Entry | Tensor | None]


@dataclass(frozen=True, slots=True)
class Reduced:
    """The losses as N scalars with a graph (``None`` where absent), and [N] measured tensors.

    ``values`` are means over the items of all ranks, ``counts`` the numbers of those items,
    ``present`` says which losses have items, ``masked`` which losses have a mask, ``whole`` that all losses are
    present, where that is known without asking the device. Averaging the scalars' gradients over ranks, as DDP does,
    gives the gradient of ``values``. ``sums`` [N], where it is given, are the sums over the items, with a graph: the
    gradient of one of them passes through all. The scalars may have no graph then.
    """

    scalars: tuple[Tensor | None, ...]
    values: Tensor
    counts: Tensor
    present: Tensor
    masked: tuple[bool, ...] = ()
    whole: bool = False
    sums: Tensor | None = None

    def bare(self) -> Reduced:
        """The same without a graph."""
        scalars = self.scalars
        if self.sums is None:
            scalars = tuple([None if scalar is None else scalar.detach() for scalar in scalars])
        elif scalars[0] is not None and scalars[0].requires_grad:
            scalars = self.values.unbind()
        return Reduced(scalars, self.values, self.counts, self.present, self.masked, self.whole)


@dataclass(frozen=True, slots=True)
class LossTable:
    """The losses of one batch by name, and the anchor where their gradients are compared.

    An entry may be a tensor (scalar, or one value for each sample), an :class:`Entry`, or ``None``
    for a loss that is absent. The anchor is a tensor, tensors in a sequence or a generator, a module (its parameters),
    or one of these for each loss by name. ``index`` [B] says which samples of the training data these are, and ``keys``
    holds further data of each sample, [B] by name, for sample weightings and the record.
    """

    entries: Mapping[str, Entry | Tensor | None]
    anchor: Anchor | None = None
    index: Tensor | None = None
    keys: Mapping[str, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.entries:
            raise ConfigError("losses() must return at least one loss, but it returned none.")
        if isinstance(self.anchor, Iterator):
            object.__setattr__(self, "anchor", tuple(self.anchor))
        elif isinstance(self.anchor, MutableMapping) and any(isinstance(of, Iterator) for of in self.anchor.values()):
            # A step reads an anchor several times, and a generator can be read once.
            kept = {name: tuple(of) if isinstance(of, Iterator) else of for name, of in self.anchor.items()}
            object.__setattr__(self, "anchor", kept)

    @classmethod
    def of(
        cls,
        losses: Losses | LossTable,
        anchor: Anchor | None = None,
        index: Tensor | None = None,
        keys: Mapping[str, Tensor] | None = None,
    ) -> LossTable:
        """A table of ``losses`` by name; a table is returned as it is."""
        if not isinstance(losses, (LossTable, Mapping)):
            raise ConfigError(
                f"Losses must come by name, but they are of type {type(losses).__name__}. "
                "Pass a dictionary of tensors, {'name': loss, ...}."
            )
        return losses if isinstance(losses, LossTable) else cls(losses, anchor, index, keys or {})

    def entry(self, name: str) -> Entry | None:
        """The loss ``name``, or ``None`` if this batch has none."""
        found = self.entries.get(name)
        if isinstance(found, Tensor):
            return Entry(found)
        _check_entry(name, found.values if isinstance(found, Entry) else found)
        return found

    def reduced(self, names: Sequence[str], together: bool = False) -> Reduced:
        """The losses in the order of ``names`` as means over the present items of all ranks.

        Each rank's scalar is ``sum * ranks / count over all ranks``: a mean of the ranks' own means
        is wrong wherever masks or batches are uneven. ``together`` allows that only their sums in one tensor have a
        graph, which is cheaper where no gradient of a single one is measured.
        """
        entries = [self.entry(name) for name in names]
        if not any(entries):
            raise ConfigError(f"At least one of the losses {', '.join(names)} must be present, but all are absent.")
        local = [None if entry is None else entry.local() for entry in entries]
        device = next(found[0].device for found in local if found is not None)
        known = [0.0 if found is None else found[1] for found in local]
        numbers = [number for number in known if not isinstance(number, Tensor)]
        exact = len(numbers) == len(known)
        ranks = world_size()
        if exact and ranks == 1 and min(numbers) > 0:
            totals = [found[0] for found in local if found is not None]
            if all(total.dtype == torch.float32 for total in totals):
                return _summed(totals, tuple(numbers), device, together)
        zero = constant((0.0,), device)[0]
        sums = torch.stack([zero if found is None else found[0].detach().float() for found in local])
        if exact:
            counts = constant(tuple(numbers), device)
        else:
            counts = torch.stack([c if isinstance(c, Tensor) else zero + c for c in known])
        if ranks > 1:
            sums, counts = sum_over_ranks(torch.stack([sums, counts])).unbind()
        if exact and ranks == 1:
            present, scale = flags(tuple(c > 0 for c in numbers), device), None
        else:
            exactly = torch.float64 if any(f is not None and f[0].dtype == torch.float64 for f in local) else None
            present, scale = counts > 0, (ranks / counts.to(exactly or counts.dtype).clamp(min=1)).unbind()
        scalars = tuple(
            None if found is None else found[0] * scale[i] if scale else _mean(found[0], numbers[i])
            for i, found in enumerate(local)
        )
        if scale is not None:
            values = sums / counts.clamp(min=1)
        else:
            values = sums if max(numbers) <= 1 else sums / constant(tuple(max(n, 1.0) for n in numbers), device)
        masked = tuple(isinstance(count, Tensor) for count in known)
        return Reduced(scalars, values, counts, present, masked, whole=scale is None and min(numbers) > 0)


def _summed(sums: Sequence[Tensor], counts: tuple[float, ...], device: torch.device, together: bool) -> Reduced:
    stacked, numbers, n = torch.stack(list(sums)), constant(counts, device), len(counts)
    values = stacked.detach()
    if max(counts) > 1:
        values = values / numbers
    scalars = values.unbind() if together else tuple(map(_mean, sums, counts))
    return Reduced(scalars, values, numbers, flags((True,) * n, device), (False,) * n, whole=True, sums=stacked)


def _check_entry(name: str, given: object) -> None:
    if given is None or isinstance(given, Tensor):
        return
    shown = f"the number {given:g}" if isinstance(given, (int, float)) else f"of type {type(given).__name__}"
    raise ConfigError(
        f"A loss must be a tensor, or None where there is nothing to compare, but {name!r} is {shown}. "
        f"Pass the tensor itself, without `.item()`, or {{{name!r}: None}} for a batch without it."
    )


def _mean(total: Tensor, count: float) -> Tensor:
    # A loss that is a mean already is not divided: K divisions by 1 cost much in forward-mode differentiation.
    return total / number(count, total.device, total.dtype) if count > 1 else total
