"""The signals of the gradients of K losses at the anchor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import SignalError
from autoloss.core.measured.signal import Rows
from autoloss.core.need import Need
from autoloss.core.signals import AT_ANCHOR, Stats
from autoloss.core.tensors.constants import constant, flags
from autoloss.core.tensors.pairs import flat
from autoloss.core.tensors.ranks import max_over_ranks, sum_over_ranks, world_size
from autoloss.probe.anchor import AnchorPoint
from autoloss.probe.graph_walk import before_ddp
from autoloss.probe.obstacles import explained


@dataclass(frozen=True, slots=True)
class Measured:
    """What the probe found: which losses reach the anchor ([K] bool), and the ``signals`` by name.

    A loss that is absent from one rank's share of the batch reaches the anchor if it does on another rank. ``whole``
    says that all losses do, where that is known without the device; ``here`` says which do on this rank. ``rows``
    [K, P], the gradients themselves, are kept only for parameters and on request: the gradient of a window is the mean
    of its micro-batches' gradients, but its Gram matrix is not the mean of theirs. ``items`` is the number of items at
    each loss's anchor.
    """

    reached: Tensor
    signals: Mapping[str, Any] = field(default_factory=dict)
    rows: Tensor | None = None
    items: tuple[int, ...] = ()
    whole: bool = False
    here: tuple[bool, ...] = ()

    @property
    def gram(self) -> Tensor | None:
        """The inner products [K, K], if they were measured."""
        return self.signals.get("gram")

    @property
    def stats(self) -> Stats | None:
        """The statistics [K], if they were measured."""
        return self.signals.get("stats")

    def norms(self) -> Tensor:
        """The norm of each loss's gradient at the anchor, [K]; by item where no Gram matrix was asked for."""
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
    if Need.STATS in needs:
        anchor.check_items()
    # A backward under autocast would cast what the forward did not.
    with torch.autocast(anchor.tensors[0].device.type, enabled=False):
        rows, reached = rows_of(losses, anchor, scale)
    ranks = world_size()
    found = flags(reached, rows.device)
    if ranks > 1:
        found = max_over_ranks(found.float()) > 0
    # Only a rank where no loss reached the anchor has to ask what the others found, and to wait for the answer.
    if not any(reached) and not (ranks > 1 and bool(found.any())):
        raise SignalError(
            "An anchor must be reached by at least one loss, but none of the losses depends on it. Compute the "
            "losses from the very tensor that is the anchor (under torch.compile: compile trunk and heads apart), or "
            "pass the last shared layer's parameters (where a wrapper casts what the network returns)."
        )
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        if anchor.parameters and ranks > 1:
            rows = sum_over_ranks(rows) / ranks
        own = None if anchor.shared else anchor.of_loss
        found_rows = Rows(rows, anchor.sizes, anchor.items, of_loss=own)
        signals = signals_of(found_rows, needs, over_ranks=ranks > 1 and not anchor.parameters)
    kept = rows if keep_rows and anchor.parameters else None
    return Measured(found, signals, kept, anchor.items, whole=ranks == 1 and all(reached), here=reached)


def signals_of(rows: Rows, needs: Need, over_ranks: bool) -> dict[str, Any]:
    """The signals at the anchor that ``needs`` names, by name; each rank's samples together ``over_ranks``."""
    found = {signal.name: signal.measure(rows) for signal in AT_ANCHOR if signal.need in needs}
    if over_ranks:
        found |= {one.name: one.over_ranks(found[one.name], rows) for one in AT_ANCHOR if one.name in found}
    return found


def rows_of(
    losses: Sequence[Tensor | None], anchor: AnchorPoint, scale: Tensor | None
) -> tuple[Tensor, tuple[bool, ...]]:
    """The gradients of ``losses`` at ``anchor`` on this rank, [K, P], and which of them reach it."""
    first = anchor.tensors[0]
    rows = torch.zeros(len(losses), anchor.size, dtype=torch.float32, device=first.device)
    sizes = anchor.sizes
    sources = [before_ddp(tensor) for tensor in anchor.tensors]
    one, reached = constant((1.0,), first.device), []
    for row, loss, wanted in zip(rows, losses, anchor.of_loss, strict=True):
        if loss is None or not loss.requires_grad or not wanted:
            reached.append(False)
            continue
        try:
            gradients = torch.autograd.grad(
                loss,
                [sources[i] for i in wanted],  # type: ignore[arg-type]  # tensors and edges may be mixed
                (one if scale is None else scale).to(loss.dtype).view_as(loss),
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError as error:
            raise explained(error) or error from error
        parts = row.split(sizes)
        for i, gradient in zip(wanted, gradients, strict=True):
            if gradient is not None:
                parts[i].copy_(flat(gradient))
        reached.append(any(gradient is not None for gradient in gradients))
        # Freed before the next one is computed: K rows and one gradient are in memory at once.
        del gradient, gradients
    if scale is not None:
        rows /= scale
    return rows, tuple(reached)
