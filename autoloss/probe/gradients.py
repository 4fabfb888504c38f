"""Gradients of K losses at the anchor, as a Gram matrix and statistics."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autoloss.core.errors import SignalError
from autoloss.core.need import Need
from autoloss.core.signals import Stats
from autoloss.core.tensors.constants import constant, flags
from autoloss.core.tensors.precision import gram_of
from autoloss.core.tensors.ranks import max_over_ranks, sum_over_ranks, world_size
from autoloss.probe.anchor import AnchorPoint
from autoloss.probe.graph_walk import before_ddp
from autoloss.probe.obstacles import explained
from autoloss.probe.statistics import statistics


@dataclass(frozen=True, slots=True)
class Measured:
    """What the probe found: inner products [K, K], statistics [K], and which losses reach the anchor ([K] bool).

    A loss that is absent from one rank's share of the batch reaches the anchor if it does on another. ``whole`` says
    that all do, where that is known without the device. ``rows`` [K, P], the gradients themselves, are kept only for
    parameters and on request: the gradient of an accumulation window is the mean of them, and its Gram matrix is not.
    """

    reached: Tensor
    gram: Tensor | None = None
    stats: Stats | None = None
    rows: Tensor | None = None
    items: int = 1
    whole: bool = False

    def norms(self) -> Tensor:
        """The norm of each loss's gradient at the anchor, [K]; by item where no Gram was asked for."""
        if self.gram is not None:
            return self.gram.diagonal().sqrt()
        assert self.stats is not None
        return self.stats.item_norm


def measure(
    losses: Sequence[Tensor | None],
    anchor: AnchorPoint,
    needs: Need,
    scale: Tensor | None = None,
    keep_rows: bool = False,
) -> Measured:
    """Differentiate each of ``losses`` at ``anchor`` and compare the gradients.

    Each loss is walked on its own, so K passes cost K heads, not K times K. ``scale`` multiplies
    each loss before and divides its gradient after (float16). Nothing is accumulated into
    ``.grad``, the graph is kept, and no hook of DDP fires.

    Raises :class:`SignalError` if no loss reaches the anchor.
    """
    # A backward under autocast would cast what the forward did not.
    with torch.autocast(anchor.tensors[0].device.type, enabled=False):
        rows, reached = _rows(losses, anchor, scale)
    ranks = world_size()
    found = flags(reached, rows.device)
    if ranks > 1:
        found = max_over_ranks(found.float()) > 0
    # Only who reached nothing has to ask what the others did, and to wait for the answer.
    if not any(reached) and not (ranks > 1 and bool(found.any())):
        raise SignalError(
            "An anchor must be reached by at least one loss, but none of the losses depends on it. Compute the "
            "losses from the very tensor that is the anchor (under torch.compile: compile trunk and heads apart), or "
            "pass the last shared layer's parameters (where a wrapper casts what the network returns)."
        )
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        if anchor.parameters and ranks > 1:
            rows = sum_over_ranks(rows) / ranks
        gram = gram_of(rows) if Need.GRAM in needs else None
        if gram is not None and not anchor.parameters and ranks > 1:
            gram = sum_over_ranks(gram) / ranks**2
        stats = statistics(rows, anchor) if Need.STATS in needs else None
    kept = rows if keep_rows and anchor.parameters else None
    return Measured(found, gram, stats, kept, anchor.items, whole=ranks == 1 and all(reached))


def _rows(
    losses: Sequence[Tensor | None], anchor: AnchorPoint, scale: Tensor | None
) -> tuple[Tensor, tuple[bool, ...]]:
    first = anchor.tensors[0]
    rows = torch.zeros(len(losses), anchor.size, device=first.device)
    sizes = [tensor.numel() for tensor in anchor.tensors]
    sources = [before_ddp(tensor) for tensor in anchor.tensors]
    one, reached = constant((1.0,), first.device), []
    for row, loss, wanted in zip(rows, losses, anchor.of_loss, strict=True):
        if loss is None or not loss.requires_grad or not wanted:
            reached.append(False)
            continue
        try:
            gradients = torch.autograd.grad(
                loss,
                [sources[i] for i in wanted],  # type: ignore[arg-type]  # a mixture is as good as either
                (one if scale is None else scale).to(loss.dtype).view_as(loss),
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError as error:
            raise explained(error) or error from error
        parts = row.split(sizes)
        for i, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:
                parts[i].copy_(gradient.reshape(-1))
        reached.append(any(gradient is not None for gradient in gradients))
        # Not while the next one is computed: K rows and one gradient at once.
        del gradient, gradients
    if scale is not None:
        rows /= scale
    return rows, tuple(reached)
