"""Statistics of the losses' gradients that inner products cannot give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.measured.signal import AtAnchor, Drawn, MicroBatches, Recorded, Rows
from autoloss.core.need import Need
from autoloss.core.tensors.constants import constant
from autoloss.core.tensors.ranks import max_over_ranks, sum_over_ranks, world_size


@dataclass(frozen=True, slots=True)
class Stats:
    """Statistics of each loss's gradient at its anchor, [K] each.

    ``item_norm`` is the mean over items (the anchor's first dimension) of the gradient's norm for
    that item, ``largest`` the largest magnitude of a coordinate, ``mean`` the mean magnitude.
    """

    item_norm: Tensor
    largest: Tensor
    mean: Tensor


class GradientStats(AtAnchor[Stats]):
    """The :class:`Stats` of the losses' gradients at the anchor; 0 for absent losses."""

    name = "stats"
    need = Need.STATS
    cost = "a plain step and K passes from the losses back to the anchor (through the heads, for features)"
    passes = "K head passes"
    columns = {"grad_item_norm": "item_norm", "grad_largest": "largest", "grad_mean": "mean"}
    kinds = tuple(columns)
    unrecorded = (
        "needs statistics of gradients, but none were recorded. Train with weighting=equal record.probe_every=50."
    )

    def tensors(self, value: Stats) -> dict[str, Tensor]:
        return {"item_norm": value.item_norm, "largest": value.largest, "mean": value.mean}

    def map(self, function: Callable[[Tensor], Tensor], value: Stats) -> Stats:
        return Stats(function(value.item_norm), function(value.largest), function(value.mean))

    def watched(self, value: Stats, present: Tensor) -> Tensor:
        # It is not finite where any coordinate is not.
        return value.item_norm

    def measure(self, rows: Rows) -> Stats:
        if not rows.values.numel():
            zeros = torch.zeros_like(rows.values.sum(1))
            return Stats(zeros, zeros, zeros)
        if rows.at_once and isinstance(rows.items, int):
            return _of_items(rows.values.reshape(len(rows.values), rows.items, -1))
        # Row by row: all magnitudes at once would take as much memory as the gradients.
        own = rows.of_loss or (tuple(range(len(rows.sizes))),) * len(rows.values)
        each = [
            _of_row(_part(row, rows.sizes, of), [rows.sizes[i] for i in of], items)
            for row, of, items in zip(rows.values, own, rows.items_each(), strict=True)
        ]
        item_norm, largest, mean = (torch.stack(of) for of in zip(*each, strict=True))
        return Stats(item_norm, largest, mean)

    def over_ranks(self, value: Stats, rows: Rows) -> Stats:
        device, ranks = value.mean.device, world_size()
        items, coordinates = (constant(tuple(map(float, of)), device) for of in (rows.items_each(), rows.widths()))
        sums = torch.stack([value.item_norm * items, value.mean * coordinates, items, coordinates])
        norms, magnitudes, items, coordinates = sum_over_ranks(sums, rows.group).unbind()
        largest = max_over_ranks(value.largest, rows.group)
        items, coordinates = items.clamp(min=1), coordinates.clamp(min=1)
        return Stats(norms / items / ranks, largest / ranks, magnitudes / coordinates / ranks)

    def merged(self, values: Sequence[Stats], window: MicroBatches) -> Stats:
        """At features each coordinate of the window's gradient is one of a micro-batch's, times its share."""
        if window.mean_gradient is not None:
            return _of_items(window.mean_gradient[:, None])
        items = torch.stack([constant(tuple(map(float, of)), window.shares.device) for of in window.items])
        part = window.shares * (items / items.sum(0).clamp(min=1))
        return Stats(
            (part * torch.stack([one.item_norm for one in values])).sum(0),
            (window.shares * torch.stack([one.largest for one in values])).amax(0),
            (part * torch.stack([one.mean for one in values])).sum(0),
        )

    def replayed(self, recorded: Recorded) -> Stats:
        return Stats(**{key: recorded.of(kind) for kind, key in self.columns.items()})

    def drawn(self, drawn: Drawn) -> Stats:
        magnitude = drawn.jacobian.abs().flatten(2)
        return Stats(drawn.jacobian.norm(dim=3).mean(2), magnitude.amax(2), magnitude.mean(2))


def _of_items(rows: Tensor) -> Stats:
    """The statistics of gradients [K, items, P / items]."""
    magnitude = rows.flatten(1).abs()
    return Stats(rows.norm(dim=2).mean(1), magnitude.amax(1), magnitude.mean(1))


def _part(row: Tensor, sizes: Sequence[int], of: tuple[int, ...]) -> Tensor:
    """The coordinates of the tensors ``of`` in ``row``."""
    if len(of) == len(sizes):
        return row
    parts = row.split(list(sizes))
    return torch.cat([parts[i] for i in of]) if of else row.new_zeros(0)


def _of_row(row: Tensor, sizes: Sequence[int], items: int) -> tuple[Tensor, Tensor, Tensor]:
    if not row.numel():
        zero = row.new_zeros(())
        return zero, zero, zero
    magnitude = row.abs()
    largest, mean = magnitude.amax(), magnitude.mean()
    squares = [part.reshape(items, -1).sum(1) for part in magnitude.square_().split(list(sizes))]
    return torch.stack(squares).sum(0).sqrt().mean(), largest, mean


STATS = GradientStats()
