"""The inner products of the losses' gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.measured.signal import AtAnchor, Drawn, MicroBatches, Recorded, Rows
from autoloss.core.need import Need
from autoloss.core.tensors.precision import gram_of
from autoloss.core.tensors.ranks import sum_over_ranks, world_size


class Gram(AtAnchor[Tensor]):
    """[K, K] inner products of the losses' gradients at the anchor; rows and columns of absent losses are 0."""

    name = "gram"
    need = Need.GRAM
    cost = "a plain step and K passes from the losses back to the anchor (through the heads, for features)"
    passes = "K head passes"
    axes = 2
    kinds = ("grad_norm", "grad_cosine")
    unrecorded = (
        "needs gradients, but none were recorded. Train with record.probe_every=50, or with a weighting that compares "
        "them."
    )

    def measure(self, rows: Rows) -> Tensor:
        return gram_of(rows.values)

    def over_ranks(self, value: Tensor, rows: Rows) -> Tensor:
        return sum_over_ranks(value, rows.group) / world_size() ** 2

    def merged(self, values: Sequence[Tensor], window: MicroBatches) -> Tensor:
        """At features the samples differ, so inner products add up with the squared shares."""
        if window.mean_gradient is not None:
            return gram_of(window.mean_gradient)
        squared = window.shares[:, :, None] * window.shares[:, None, :]
        return (squared * torch.stack(list(values))).sum(0)

    def replayed(self, recorded: Recorded) -> Tensor:
        norms = recorded.of("grad_norm")
        return (norms[:, :, None] * norms[:, None, :] * recorded.cosines).nan_to_num(0.0)

    def drawn(self, drawn: Drawn) -> Tensor:
        rows = drawn.jacobian.flatten(2)
        return rows @ rows.mT


GRAM = Gram()
