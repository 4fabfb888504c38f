"""Estimates the traces of the losses' neural tangent kernels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import ConfigError, SignalError
from autoloss.core.need import Need
from autoloss.core.table import Entry, LossTable, Reduced
from autoloss.core.tensors.ranks import rank, sum_over_ranks, world_size
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe.anchor import AnchorPoint
from autoloss.probe.gradients import rows_of


def refuse_fork(weighting: Weighting) -> None:
    """Raise if ``weighting`` needs kernels, which are measured before the backward and not where gradients meet."""
    if Need.KERNEL in weighting.needs:
        raise SignalError(
            f"Weighting {weighting.title()!r} measures kernels, so its anchor must be parameters or features, but it "
            "is a fork. Pass anchor=list(network.parameters()), or set anchor=parameters."
        )


def kernel_traces(
    table: LossTable, losses: Reduced, terms: Terms, point: AnchorPoint, clock: Clock, scale: Tensor | None = None
) -> Tensor:
    """The mean of ``||dr_i / dp||^2`` over the samples of each unit, [K], r_i the square root of a sample's loss.

    One backward for each loss: with random signs e_i the squared norm of ``sum_i e_i dr_i / dp`` has the trace as its
    expectation (Hutchinson's estimate). The signs follow from the step and the rank, so that nothing else is drawn
    anew. At features there is no chance in it, since no two samples share one. Of a sample whose residual is several
    numbers it is the gradient of their root mean square.
    """
    of_loss = tuple(point.of_loss[unit] for unit in terms.unit_of)
    each = AnchorPoint(point.tensors, of_loss, point.parameters)
    # As in `measure`: a backward under autocast would cast what the forward did not.
    with torch.autocast(point.tensors[0].device.type, enabled=False):
        found = [residuals(name, table.entry(name)) for name in terms.names]
        rows = rows_of(probes([roots for roots, _ in found], clock.step), each, scale)[0]
    counts = torch.stack([count.to(rows.device) for _, count in found])
    if world_size() > 1:
        counts = sum_over_ranks(counts)
        rows = sum_over_ranks(rows) if point.parameters else rows
    traces = rows.square().sum(1)
    if world_size() > 1 and not point.parameters:  # each rank has features of its own samples
        traces = sum_over_ranks(traces)
    traces = traces / counts.clamp(min=1)
    return terms.gather(Reduced(losses.scalars, traces, losses.counts, losses.present))[0]


def residuals(name: str, entry: Entry | None) -> tuple[Tensor | None, Tensor]:
    """The residuals [B] of a loss's samples, 0 where there is none, and how many samples there are."""
    if entry is None:
        return None, torch.zeros(())
    if not entry.values.dim():
        raise ConfigError(
            f"A kernel needs the loss of each sample, but {name!r} is one number. Return a loss for each sample, "
            "without a mean over them."
        )
    values, present = entry.each()
    # The root has no derivative at 0, where the residual's own would be multiplied by 0 and so cannot be found.
    known = present & (values > 0)
    return values.where(known, 1.0).sqrt().where(known, 0.0), present.sum().float()


def probes(roots: Sequence[Tensor | None], step: int) -> list[Tensor | None]:
    """The sum over each loss's ``roots`` [..., B] with random signs, which are the same for all that is before B."""
    generator = torch.Generator().manual_seed(1_000_003 * step + rank())
    found: list[Tensor | None] = []
    for of in roots:
        signs = None if of is None else 2 * torch.randint(2, of.shape[-1:], generator=generator) - 1
        found.append(None if of is None or signs is None else (signs.to(of.device, of.dtype) * of).sum(-1))
    return found
