"""Weighs the micro-batches of M members: asks their weightings, and makes the gradients of the totals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.errors import AutolossError, SignalError
from autoloss.core.measured.signal import AfterStep
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.tensors.constants import flags
from autoloss.training.fleet.forked import (
    OF_MEETING,
    ForkedParty,
    compare,
    met_in,
    reached_by,
    summed,
    together,
    unweighed,
)
from autoloss.training.fleet.forward import Forward
from autoloss.training.fleet.layout import Layout
from autoloss.training.fleet.measure import measure_members, traces_of_members
from autoloss.training.fleet.member import Member
from autoloss.training.fleet.notices import not_finite
from autoloss.training.fleet.party import Party
from autoloss.training.fleet.samples import FleetSamples
from autoloss.training.fleet.stacked import Stacked, structure
from autoloss.training.fleet.stacked_weighed import StackedWeighed
from autoloss.training.fleet.unbalanced import MembersUnbalanced
from autoloss.training.fleet.weighing import Numbers, gathered, with_outcome
from autoloss.training.step.forked import look
from autoloss.training.step.player import Player


class FleetWeigher:
    """Weighs the losses of M members: :meth:`weigh` for each micro-batch, :meth:`learn` for each optimiser step.

    ``last`` [M, N] are the effective weights that were known last. The ``failed`` members are those whose losses,
    gradients or weights were not finite; those whose batches are ``left_out`` instead keep what they had before. The
    others are as for :class:`autoloss.training.fleet.fleet.Fleet`.
    """

    def __init__(
        self,
        members: Sequence[Member],
        stacked: Stacked,
        samples: FleetSamples,
        accumulate: int,
        probe: Callable[[int], bool] | None,
        compared: int,
    ) -> None:
        self.members, self.stacked, self.samples = list(members), stacked, samples
        self.accumulate, self.probe = accumulate, probe
        self.parties = self._parties(compared)
        self.failed: dict[int, AutolossError] = {}
        self.last = torch.stack([player.last for player in self._players])
        self._unbalanced = MembersUnbalanced(self._players)
        self._through: dict[str, bool] = {}  # the losses that are known to come through the fork, or not to
        self._window: list[tuple[Numbers, Layout]] = []
        self.left_out: list[set[int]] = []  # by micro-batch of the window
        self._skips = any(player.nonfinite.skips for player in self._players)

    @property
    def idle(self) -> list[int]:
        """The members that were left out of all micro-batches of the window: they make no step."""
        return sorted(set.intersection(*self.left_out)) if self.left_out else []

    def weigh(self, forward: Forward, clock: Clock, needs: Need) -> StackedWeighed:
        """Weigh a micro-batch and add the gradients of the totals; ``needs`` says what is measured of the gradients."""
        self._unbalanced.declare(forward.declared)
        parameters = list(self.stacked.parameters.values()) if self._skips else []
        before = [None if of.grad is None else of.grad.clone() for of in parameters]
        self.left_out.append(set())
        weighed = (self._at_anchor if forward.fork is None else self._at_fork)(forward, clock, needs)
        known = weighed.weights.isfinite() & forward.losses.present
        if out := sorted(self.left_out[-1]):
            known[out] = False
            for parameter, gradient in zip(parameters, before, strict=True):
                if parameter.grad is not None:
                    parameter.grad[out] = 0.0 if gradient is None else gradient[out]
        self.last = torch.where(known, weighed.weights, self.last)
        self._window.append((weighed.numbers, weighed.layout))
        return weighed

    def learn(self, outcome: Sequence[tuple[AfterStep, Tensor | list[Tensor]]]) -> None:
        """Let the weightings learn from the micro-batches since the last call, and the ``outcome`` of their step."""
        window, self._window = self._window, []
        left_out, self.left_out = self.left_out, []
        found = with_outcome([numbers for numbers, _ in window], outcome)
        for members, party in self.parties:
            if not party.learns:
                continue
            party.learn(found, [layout for _, layout in window], [[m in out for m in members] for out in left_out])

    def keep(self, kept: Sequence[int]) -> None:
        """Drop all but the members ``kept``."""
        self.members = [self.members[i] for i in kept]
        self.failed = {}
        self.last = self.last[torch.tensor(list(kept), device=self.last.device)]
        self._unbalanced.keep(kept)
        place, parties = {old: new for new, old in enumerate(kept)}, []
        for of, party in self.parties:
            if left := [j for j, i in enumerate(of) if i in place]:
                party.keep(left)
                parties.append(([place[of[j]] for j in left], party))
                party.place(parties[-1][0], len(kept))
        self.parties = parties

    def settle(self) -> None:
        """Write to the members' own players what is kept for them here."""
        for player, last in zip(self._players, self.last, strict=True):
            player.last.copy_(last)
        self._unbalanced.settle()

    def probes(self, step: int) -> bool:
        """Whether gradients are compared for the record: the first micro-batch of a step is the one in it."""
        return self.probe is not None and self.probe(step) and not self._window

    def _at_anchor(self, forward: Forward, clock: Clock, needs: Need) -> StackedWeighed:
        weighed = self._ask(*self._seen(forward, clock, needs), forward)
        self._total(forward, weighed.weights).backward()
        self._look(weighed)
        return weighed

    def _look(self, weighed: StackedWeighed, scale: Tensor | None = None) -> None:
        failed, left_out = not_finite(weighed, self._players, scale, self.left_out[-1])
        self.failed = failed | self.failed
        self.left_out[-1] |= left_out

    def _at_fork(self, forward: Forward, clock: Clock, needs: Need) -> StackedWeighed:
        losses, fork, everyone = forward.losses, forward.fork, [True] * len(self.members)
        assert fork is not None
        reached = look(fork, summed(losses), self._players[0].terms, self._unbalanced.declared, self._through)
        if reached is not None:
            self._unbalanced.note(losses, flags(reached, losses.values.device), everyone)
        numbers, layout = self._known(forward, clock)
        layout = replace(layout, whole=False)
        before = unweighed({**numbers, "unbalanced": self._unbalanced.units}, layout)
        self._look(self._weighed(forward, before, layout, [Need(0)] * len(self.members)))
        weighed: StackedWeighed | None = None

        def meet(gradients: Sequence[Tensor | None], scale: Tensor) -> Tensor:
            nonlocal weighed
            met, meeting = met_in(gradients, scale, fork, len(self.members))
            here = replace(layout, meeting=meeting)
            by = [reached_by(met, meeting, player.terms) for player in self._players]
            for player, own in zip(self._players, by, strict=True):
                player.reach.see(losses.scalars, own, layout.declared, clock.step)
            reached = torch.tensor(by, device=losses.values.device)
            self._unbalanced.note(losses, reached, everyone)
            found = {**numbers, **met, "unbalanced": self._unbalanced.units, "total": before["total"]}
            if needs & GRADIENTS:
                found, here = compare(found, here, needs, reached, self.accumulate > 1)
            weighed = self._ask(found, here, forward)
            self._look(weighed, scale)
            return together(weighed.numbers.pop("combined"), fork)

        fork.meets(meet)
        self._total(forward, before["weights"], fork.token).backward()
        assert weighed is not None
        return weighed

    def _total(self, forward: Forward, weights: Tensor, token: Tensor | None = None) -> Tensor:
        parts = [
            (weights[:, i].to(scalar.dtype) * scalar).sum()
            for i, scalar in enumerate(forward.losses.scalars)
            if scalar is not None
        ]
        total = torch.stack(parts).sum()
        return (total if token is None else total + token) / self.accumulate

    @property
    def _players(self) -> list[Player]:
        return [member.player for member in self.members]

    def _parties(self, compared: int) -> list[tuple[list[int], Party]]:
        alike: dict[str, list[int]] = {}
        for m, member in enumerate(self.members):
            alike.setdefault(structure(member.player.weighting), []).append(m)
        kind = ForkedParty if self.members[0].fork else Party
        parties = [(of, kind([self._players[m].weighting for m in of], compared)) for of in alike.values()]
        for of, party in parties:
            party.place(of, len(self.members))
        return parties

    def _known(self, forward: Forward, clock: Clock) -> tuple[Numbers, Layout]:
        """What is known before any gradient is."""
        losses, terms = forward.losses, self.members[0].player.terms
        numbers: Numbers = {"values": losses.values, "counts": losses.counts, "present": losses.present}
        base = [player.terms.base for player in self._players]
        if any(of != base[0] for of in base):
            numbers["base"] = torch.tensor(base, dtype=torch.float32, device=losses.values.device)
        return numbers, Layout(terms, clock, losses.whole, losses.masked, self._unbalanced.declared)

    def _seen(self, forward: Forward, clock: Clock, needs: Need) -> tuple[Numbers, Layout]:
        losses, declared = forward.losses, self._unbalanced.declared
        numbers, layout = self._known(forward, clock)
        own = layout.terms.with_base(numbers["base"].unbind(1)) if "base" in numbers else layout.terms
        reached: tuple[bool, ...] | None = None
        items: tuple[int, ...] = ()
        templates: Mapping[str, Any] = {}
        if needs & GRADIENTS:
            parameters = isinstance(forward.anchor[0], str)
            tensors = [self.stacked.parameters[of] if isinstance(of, str) else of for of in forward.anchor]
            trained = [i for i, of in enumerate(tensors) if of.requires_grad or not parameters]
            place = {i: new for new, i in enumerate(trained)}
            of_loss = [tuple(place[i] for i in of if i in place) for of in forward.of_loss]
            places = [tensors[i] for i in trained]
            numbers["signals"], templates, reached, rows, items = measure_members(
                own.scalars(losses), places, of_loss, needs, parameters
            )
            if forward.residuals is not None:
                each = [of_loss[unit] for unit in layout.terms.unit_of]
                found = traces_of_members(forward.residuals, places, each, clock.step)
                traces = gathered(replace(losses, values=found), numbers.get("base"), layout)[0]
                numbers["signals"]["kernel"], templates = {"kernel": traces}, {**templates, "kernel": traces[0]}
            if not any(reached):
                raise SignalError(
                    "An anchor must be reached by at least one loss, but none of the losses depends on it. Compute the "
                    "losses from the very tensor that is the anchor."
                )
            if parameters and self.accumulate > 1:
                numbers["rows"] = rows
        known = reached is not None and all(reached)
        compares = [self._compares(m, clock.step) for m in range(len(self.members))]
        # As alone: a weighting that compares gradients at some steps goes by what it found, at the others.
        if any(declared) or any(
            player.weighting.needs & GRADIENTS and not (known and here)
            for player, here in zip(self._players, compares, strict=True)
        ):
            numbers["unbalanced"] = self._unbalanced.units
        if reached is not None:
            for player, here in zip(self._players, compares, strict=True):
                if here:
                    player.reach.see(losses.scalars, reached, declared, clock.step)
            if all(reached) and not any(declared):
                self._unbalanced.clear(compares)
            else:
                self._unbalanced.note(losses, flags(reached, losses.values.device), compares, items=True)
        return numbers, replace(layout, reached=reached, items=items, templates=templates)

    def _ask(self, numbers: Numbers, layout: Layout, forward: Forward) -> StackedWeighed:
        parts: list[tuple[list[int], tuple[Tensor, ...]]] = []
        with torch.no_grad():
            for members, party in self.parties:
                parts.append((members, party.ask(numbers, layout)))
        order = [m for members, _ in parts for m in members]
        found = [torch.cat(of) if len(of) > 1 else of[0] for of in zip(*(of for _, of in parts), strict=True)]
        if order != list(range(len(self.members))):
            back = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=self.last.device)
            found = [of[back] for of in found]
        names = ("weights", "seen", "balanced", "unit_counts", "combined")
        left = {key: value for key, value in numbers.items() if key not in OF_MEETING}
        needs = [self._needs(m, layout.clock.step) for m in range(len(self.members))]
        return self._weighed(forward, {**left, **dict(zip(names, found, strict=False))}, layout, needs)

    def _weighed(self, forward: Forward, numbers: Numbers, layout: Layout, needs: Sequence[Need]) -> StackedWeighed:
        losses = replace(
            forward.losses, scalars=tuple(None if one is None else one.detach() for one in forward.losses.scalars)
        )
        probes = self.probes(layout.clock.step)
        return StackedWeighed(losses, numbers, layout, tuple(needs), self.samples.last, probes, self.left_out[-1])

    def _compares(self, m: int, step: int) -> bool:
        """Whether the weighting of member ``m`` compares gradients at ``step``."""
        return bool(self._needs(m, step))

    def _needs(self, m: int, step: int) -> Need:
        """What the weighting of member ``m`` needs to know of the gradients at ``step``."""
        return self._players[m].weighting.needs_at(step) & GRADIENTS
