"""One training step: turns losses into one scalar. Only the caller calls ``backward``."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import SignalError
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.signals import Signals
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable, Reduced
from autoloss.core.tensors.ranks import world_size
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe import Measured, measure
from autoloss.probe.anchor import locate
from autoloss.probe.clipping import Received
from autoloss.probe.kernels import kernel_traces
from autoloss.training.step.contract import weights_of
from autoloss.training.step.item_counts import Items, shares
from autoloss.training.step.sample_weights import Sampled


@dataclass(frozen=True, slots=True)
class Weighed:
    """A weighed step: ``total`` to call ``backward`` on, and what it was computed from.

    ``weights`` [N] are the effective weights, d(total)/d(loss), 0 for absent losses. ``signals`` are
    those that the weighting saw of its K units, ``counts`` [K] the number of items of each unit, and
    ``measured`` what the probe measured, if it was asked to. With a fork, ``weights`` and ``signals`` are those of
    the shared features' gradient and known after the backward; until then ``weights`` are the base weights, which
    the heads keep. ``sampled`` holds the weights of the samples, if there is a sample weighting; ``probed`` was
    measured for the record alone. ``received`` gets what the backward gives to the total, if the weighting learns from
    the effect of the step's weights. ``share`` [N] is the part of the window's items that this micro-batch has, if the
    window's number is given: the total is multiplied by it.
    """

    total: Tensor
    weights: Tensor
    losses: Reduced
    signals: Signals
    counts: Tensor
    measured: Measured | None = None
    sampled: tuple[Sampled, ...] = ()
    probed: Measured | None = None
    received: Received | None = None
    share: Tensor | None = None

    @property
    def clock(self) -> Clock:
        """Where training stood."""
        return Clock(self.signals.step, self.signals.epoch, self.signals.progress, self.signals.plateaus)

    def bare(self) -> Weighed:
        """The same without a graph, to be recorded: over several ranks ``total`` is that of their batches together."""
        total = self.total.detach()
        if world_size() > 1:
            weights = self.weights if self.share is None else self.weights * self.share
            total = (weights * self.losses.values).sum()
        # `replace` asks each field for its name, and this runs in each step.
        kept = (self.measured, self.sampled, self.probed, self.received, self.share)
        return Weighed(total, self.weights, self.losses.bare(), self.signals, self.counts, *kept)


def weigh(
    table: LossTable,
    weighting: Weighting,
    terms: Terms,
    clock: Clock,
    scale: Tensor | None = None,
    keep_rows: bool = False,
    unbalanced: Tensor | None = None,
    declared: bool = True,
    probe: bool = False,
    items: Items | None = None,
) -> Weighed:
    """Reduce ``table``, measure what ``weighting`` needs, ask for its weights, and sum.

    The weights are detached: one ordinary backward on ``total`` gives every parameter the gradient of
    ``sum(weights * losses)``. Units that are ``unbalanced`` ([K], 0 or 1), and units whose losses do not reach the
    anchor, keep their base weight, and the weighting sees them as absent. Where all units reach the anchor,
    ``unbalanced`` is ignored, unless ``declared`` says that the user named some of them. With ``probe``, gradients are
    compared for the record alone where the weighting needs none. Where the gradients of losses times ``scale``
    (float16) overflow, so does the total: the gradient scaler skips the step and lowers its factor. ``items`` is the
    number of items of the window, if it is given.
    """
    if isinstance(weighting, Surgery):
        raise SignalError(
            f"Weighting {weighting.title()!r} needs a fork, where gradients meet, but the anchor is none. Write "
            "fork = balancer.fork(features), compute each loss from its own copy, and pass anchor=fork; "
            "in a problem: copies, anchor = self.branch(features)."
        )
    needs = weighting.needs_here(clock.step, anchored=table.anchor is not None)
    compares = bool(needs & GRADIENTS)
    losses = table.reduced(terms.names, together=not (compares or probe))
    measured = None
    if compares:
        point = locate(table.anchor, terms.units, weighting.title())
        measured = measure(terms.scalars(losses), point, needs, scale, keep_rows)
        if Need.KERNEL in needs:
            traces = kernel_traces(table, losses, terms, point, clock, scale)
            measured = replace(measured, signals={**measured.signals, "kernel": traces})
    weights, signals, counts = ask(losses, weighting, terms, clock, measured, unbalanced, declared, scale is not None)
    probed = _probe(table, terms, losses, scale) if probe and not compares else None
    share = None if items is None else shares(losses, terms.names, items)
    total = weighted_sum(losses, weights if share is None else weights * share)
    received = Received(total) if Need.ALIGNMENT in needs else None
    return Weighed(total, weights, losses, signals, counts, measured, probed=probed, received=received, share=share)


def ask(
    losses: Reduced,
    weighting: Weighting,
    terms: Terms,
    clock: Clock,
    measured: Measured | None,
    unbalanced: Tensor | None,
    declared: bool,
    scaled: bool = False,
) -> tuple[Tensor, Signals, Tensor]:
    """The effective weights [N], what the ``weighting`` saw, and the number of items of each unit [K].

    ``measured`` holds the signals at the anchor, if there are any; with ``scaled`` they may have overflowed. The others
    are as for :func:`weigh`. Nothing here has a graph.
    """
    values, counts, present = terms.gather(losses)
    if measured is not None:
        missed = None if measured.whole else ~measured.reached
        # Where all units reach the anchor now, what earlier batches showed does not matter.
        earlier = None if unbalanced is None or (measured.whole and not declared) else unbalanced > 0.5
        unbalanced = missed if earlier is None else earlier if missed is None else earlier | missed
    elif unbalanced is not None:
        unbalanced = unbalanced > 0.5
    balanced = present if unbalanced is None else present > unbalanced
    signals = see(terms, clock, values, balanced, measured, whole=losses.whole and unbalanced is None)
    with torch.no_grad():
        weights = weights_of(weighting, signals)
        if unbalanced is not None:
            weights = torch.where(unbalanced, 1.0, weights)
        if scaled and measured is not None:
            # A probe that overflowed must not be hidden by a weight of 0: the scaler would never lower its factor.
            weights = torch.where(signals.finite(), weights, torch.nan)
        weights = terms.spread(weights)
        # A copy in any case: the weights may be state of the weighting, which changes.
        weights = weights.clone() if losses.whole else torch.where(losses.present, weights, 0.0)
    return weights, signals, counts


def _probe(table: LossTable, terms: Terms, losses: Reduced, scale: Tensor | None) -> Measured:
    if table.anchor is None:
        raise SignalError(
            "record.probe_every needs an anchor where gradients are compared, but losses() returned none. Return "
            "LossTable(..., anchor=features), pass anchor=features to the balancer, or leave probe_every out."
        )
    point = locate(table.anchor, terms.units, "record.probe_every")
    return measure(terms.scalars(losses), point, GRADIENTS, scale)


def see(
    terms: Terms,
    clock: Clock,
    values: Tensor,
    balanced: Tensor,
    measured: Measured | None = None,
    whole: bool = False,
) -> Signals:
    """What a weighting sees: the ``values`` [K] of the ``balanced`` units ([K] bool), and what was ``measured``.

    In a ``whole`` batch all units are known to be balanced.
    """
    return Signals(
        names=terms.units,
        values=values if whole else torch.where(balanced, values, 1.0),
        present=balanced,
        step=clock.step,
        epoch=clock.epoch,
        progress=clock.progress,
        plateaus=clock.plateaus,
        whole=whole,
        **{f"measured_{name}": value for name, value in measured.signals.items()} if measured else {},
    )


def weighted_sum(losses: Reduced, weights: Tensor) -> Tensor:
    """``sum(weights * losses)`` over the present losses, a scalar with a graph."""
    if losses.sums is not None:
        return torch.dot(losses.sums, weights / losses.counts)
    here = [i for i, scalar in enumerate(losses.scalars) if scalar is not None]
    stack = torch.stack([s for s in losses.scalars if s is not None])
    if len(here) < len(losses.scalars):
        weights = torch.stack([weights[i] for i in here])
    return (stack * weights.to(stack.dtype)).sum()
