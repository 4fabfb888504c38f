"""Estimates the traces of the losses' neural tangent kernels."""

from __future__ import annotations

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
    generator = torch.Generator().manual_seed(1_000_003 * clock.step + rank())
    of_loss = tuple(point.of_loss[unit] for unit in terms.unit_of)
    each = AnchorPoint(point.tensors, of_loss, point.parameters)
    # As in `measure`: a backward under autocast would cast what the forward did not.
    with torch.autocast(point.tensors[0].device.type, enabled=False):
        probes = [_probe(name, table.entry(name), generator) for name in terms.names]
        rows = rows_of([probe for probe, _ in probes], each, scale)[0]
    counts = torch.stack([count.to(rows.device) for _, count in probes])
    if world_size() > 1:
        counts = sum_over_ranks(counts)
        rows = sum_over_ranks(rows) if point.parameters else rows
    traces = rows.square().sum(1)
    if world_size() > 1 and not point.parameters:  # each rank has features of its own samples
        traces = sum_over_ranks(traces)
    traces = traces / counts.clamp(min=1)
    return terms.gather(Reduced(losses.scalars, traces, losses.counts, losses.present))[0]


def _probe(name: str, entry: Entry | None, generator: torch.Generator) -> tuple[Tensor | None, Tensor]:
    """The sum of the residuals of a loss's samples with random signs, and how many samples there are."""
    if entry is None:
        return None, torch.zeros(())
    if not entry.values.dim():
        raise ConfigError(
            f"A kernel needs the loss of each sample, but {name!r} is one number. Return a loss for each sample, "
            "without a mean over them."
        )
    values, present = entry.each()
    signs = (2 * torch.randint(2, (len(values),), generator=generator) - 1).to(values.device, values.dtype)
    # The root has no derivative at 0, where the residual's own would be multiplied by 0 and so cannot be found.
    known = present & (values > 0)
    return (signs * values.where(known, 1.0).sqrt()).where(known, 0.0).sum(), present.sum().float()
