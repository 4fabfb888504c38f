"""Micro-batches of M members whose gradients meet in one fork: weights are known when the backward has reached it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from autoloss.core.errors import SignalError
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.signals import AT_ANCHOR
from autoloss.core.table import Reduced
from autoloss.core.terms import Terms
from autoloss.probe.fork import CopiesByLoss, Fork, Place
from autoloss.probe.fork_measure import measure_at_fork
from autoloss.training.fleet.layout import Layout, Meeting
from autoloss.training.fleet.party import Party
from autoloss.training.fleet.stacked import WithRules, mapped
from autoloss.training.fleet.weighing import Numbers, losses_of, measured_of, terms_of, without_gradients
from autoloss.training.step.forked import Met, settle
from autoloss.training.step.weigh import Weighed, see

OF_MEETING = ("met", "scale")  # the numbers that are needed in the backward alone


class MemberCopies(CopiesByLoss):
    """One member's copies of its features, in a mapped forward. ``fork`` is that of all members."""

    def __init__(self, features: Tensor, names: Sequence[str], parameters: bool) -> None:
        self.fork: Fork | None = None
        self._made = (tuple(names), parameters)
        self._copies = dict(zip(names, _Outside.apply(self, features), strict=True))

    def of_all(self, features: Tensor) -> tuple[Tensor, ...]:
        """Fork the ``features`` of all members, [M, B, ...]."""
        self.fork = Fork(features, *self._made)
        return tuple(self.fork.values())


class _Outside(torch.autograd.Function):
    """Forks the features of all members outside of the mapping, where one backward reaches all copies."""

    generate_vmap_rule = False

    @staticmethod
    def forward(copies: MemberCopies, features: Tensor) -> tuple[Tensor, ...]:
        """Called where nothing is mapped: the features are those of no member."""
        raise SignalError(
            "A fork's features must be computed by the network, but these are the same for all members of a fleet. "
            "Fork what the trunk gives."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """The fork itself keeps what its backward needs."""

    @staticmethod
    def vmap(
        info: Any, in_dims: tuple[Any, ...], copies: MemberCopies, features: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[int, ...]]:
        """The copies of all members."""
        found = copies.of_all(features.movedim(in_dims[1], 0))
        return found, tuple(0 for _ in found)


class ForkedParty(Party):
    """Members whose weightings are of one structure, and whose gradients meet in a fork."""

    def ask_one(self, weighting: Any, numbers: Numbers, layout: Any) -> tuple[Tensor, ...]:
        """As :func:`autoloss.training.fleet.weighing.ask_one`, and the gradient that the features get."""
        shown = numbers, layout
        if not weighting.needs_at(layout.clock.step) & GRADIENTS:
            shown = without_gradients(numbers, layout)
        weighed, terms = _unweighed(numbers, layout), terms_of(numbers, layout)
        settled, combined = settle(
            weighed,
            _met(numbers, layout),
            weighting,
            terms,
            numbers["unbalanced"] > 0.5,
            layout.declared,
            measured_of(*shown),
        )
        return settled.weights, settled.signals.values, settled.signals.present, weighed.counts, combined


def unweighed(numbers: Numbers, layout: Layout) -> Numbers:
    """``numbers`` with what is known before the backward: the base weights, which the heads get, and what is seen."""

    def one(of: Numbers) -> dict[str, Tensor]:
        found, terms = _unweighed(of, layout), terms_of(of, layout)
        base = torch.where(of["present"], terms.factors(of["values"].device), 0.0)
        return {
            "weights": base,
            "total": (base * of["values"]).sum(),
            "seen": found.signals.values,
            "balanced": found.signals.present,
            "unit_counts": found.counts,
        }

    return {**numbers, **mapped(one, numbers)}


def met_in(gradients: Sequence[Tensor | None], scale: Tensor, fork: Fork, members: int) -> tuple[Numbers, Meeting]:
    """The gradients of ``members`` that met in their ``fork``, as numbers; and what is the same for all."""
    here, whole = tuple(gradient is not None for gradient in gradients), fork.place
    each = tuple(_apart(gradient, fork, members) for gradient in gradients if gradient is not None)
    numbers: Numbers = {"met": each, "scale": scale.expand(members)}
    shape = each[0].shape[1:] if each else whole.shape[1:]
    items = shape[0] if shape and not whole.parameters else 1
    return numbers, Meeting(here, Place(shape, items, whole.dtype, whole.device, whole.parameters))


def together(combined: Tensor, fork: Fork) -> Tensor:
    """The gradients of all members, [M, ...], as ``fork`` takes them."""
    if not fork.place.parameters:
        return combined
    parts = combined.split([size // len(combined) for size in fork.sizes], dim=1)
    return torch.cat([part.flatten() for part in parts])


def compare(numbers: Numbers, layout: Layout, needs: Need, reached: Tensor, keep_rows: bool) -> tuple[Numbers, Layout]:
    """Add the signals that ``needs`` names of the gradients that met, and which units [M, K] they show to be reached.

    With ``keep_rows`` the gradients at parameters are kept, for a window of several micro-batches.
    """
    templates: dict[str, Any] = {}
    items: tuple[int, ...] = ()

    def one(of: Numbers) -> tuple[dict[str, dict[str, Tensor]], dict[str, Tensor]]:
        nonlocal items
        met, terms = _met(of, layout), terms_of(of, layout)
        found = measure_at_fork(met.shown(terms), of["reached"], met.place, needs, None, keep_rows)
        templates.update(found.signals)
        items = found.items
        rows = {} if found.rows is None else {"rows": found.rows}
        return {one.name: one.tensors(found.signals[one.name]) for one in AT_ANCHOR if one.name in templates}, rows

    numbers = {**numbers, "reached": reached}
    with WithRules():
        signals, rows = mapped(one, numbers)
    found = tuple(reached.any(0).tolist())
    return {**numbers, "signals": signals, **rows}, replace(layout, reached=found, items=items, templates=templates)


def reached_by(numbers: Numbers, meeting: Meeting, terms: Terms) -> tuple[bool, ...]:
    """The units that the gradients show to reach the fork, for a member with the losses and base weights ``terms``."""
    return _of(numbers, meeting).reached(terms)


def summed(losses: Reduced) -> Reduced:
    """``losses`` of all members as scalars, to look at their graphs."""
    return replace(losses, scalars=tuple(None if scalar is None else scalar.sum() for scalar in losses.scalars))


def _apart(gradient: Tensor, fork: Fork, members: int) -> Tensor:
    """The gradient of each member, [M, ...], from that at a copy, or at all parameters."""
    if not fork.place.parameters:
        return gradient
    return torch.cat([part.view(members, -1) for part in gradient.split(fork.sizes)], 1)


def _of(numbers: Numbers, meeting: Meeting) -> Met:
    each = iter(numbers["met"])
    return Met([next(each) if here else None for here in meeting.here], numbers["scale"], meeting.place)


def _met(numbers: Numbers, layout: Layout) -> Met:
    assert layout.meeting is not None
    return _of(numbers, layout.meeting)


def _unweighed(numbers: Numbers, layout: Layout) -> Weighed:
    terms, losses, clock = terms_of(numbers, layout), losses_of(numbers, layout), layout.clock
    values, counts, present = terms.gather(losses)
    signals = see(terms, clock, values, present > (numbers["unbalanced"] > 0.5))
    return Weighed(losses.values.sum(), losses.values, losses, signals, counts)
