"""Trains M members step by step: one forward, K passes to the anchor, one backward, one optimiser step for all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from autoloss.core.clock import Clock
from autoloss.core.errors import AutolossError, SignalError
from autoloss.core.loss import Loss
from autoloss.core.need import GRADIENTS, Need
from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.training.fleet.clip import Clip
from autoloss.training.fleet.forward import Forward, MemberModel, StackedForward
from autoloss.training.fleet.layout import Layout
from autoloss.training.fleet.lookahead import FleetLookAhead
from autoloss.training.fleet.measure import measure_members
from autoloss.training.fleet.member import Member, check_members
from autoloss.training.fleet.notices import not_finite, warn_of_absent, wrong_labels
from autoloss.training.fleet.optimizers import kind_of
from autoloss.training.fleet.samples import FleetSamples
from autoloss.training.fleet.stacked import Stacked, structure
from autoloss.training.fleet.stacked_weighed import StackedWeighed
from autoloss.training.fleet.weighing import TRIALS, Numbers, Party, with_outcome
from autoloss.training.step.penalties import Penalties


class Fleet:
    """M members that are trained as one. They must be of one structure; :class:`UnlikeError` says what is not.

    A member equals the same training alone. Call :meth:`micro_batch` for each batch and :meth:`step` for each optimiser
    step. ``failed`` holds the errors of members whose losses or labels were wrong; :meth:`drop` takes them out.
    ``probe`` says at which steps gradients are compared for the record alone, as for a :class:`Player`. In the first
    ``compared`` steps mapped weightings are compared with those that are called one by one.
    """

    def __init__(
        self,
        members: Sequence[Member],
        accumulate: int = 1,
        clip: Clip | None = None,
        probe: Callable[[int], bool] | None = None,
        compared: int = TRIALS,
    ) -> None:
        self.members = list(members)
        check_members(self.members)
        self.accumulate, self.clip, self.probe = accumulate, clip or Clip(), probe
        self.models = [MemberModel(one.network, one.losses, one.penalties) for one in self.members]
        self._scheduled = self._with_schedules()
        self.stacked = Stacked(self.models)
        first = self.members[0]
        self.samples = FleetSamples([member.player for member in self.members])
        self.forward = StackedForward(self.stacked, first.problem, first.player, self.samples)
        kind = kind_of(first.optimizer)
        self.optimizer = kind([member.optimizer for member in self.members], list(self.stacked.parameters.values()))
        for member in self.members:
            member.optimizer._opt_called = True  # type: ignore[attr-defined]  # its scheduler would warn
        self.parties = self._parties(compared)
        self.ahead = FleetLookAhead(self.members, self.forward, self.optimizer, accumulate)
        self.failed: dict[int, AutolossError] = {}
        self._remarked: set[tuple[str, str]] = set()
        self.weighed: StackedWeighed | None = None
        self.last = torch.stack([member.player.last for member in self.members])
        self._unbalanced = torch.stack([member.player.unbalanced for member in self.members])
        self._window: list[tuple[Numbers, Layout]] = []

    def __len__(self) -> int:
        return len(self.members)

    def micro_batch(self, batch: Any, clock: Clock) -> StackedWeighed:
        """Weigh the losses of ``batch`` [M, B, ...] and add the gradients of the totals."""
        needs = least = GRADIENTS if self._probes(clock.step) else Need(0)
        for member in self.members:
            needs |= member.player.weighting.needs_at(clock.step)
            least |= member.player.weighting.needs_here(clock.step, anchored=False)
            member.player.terms.follow(clock.progress)
        self._follow(clock.progress)
        moment = self.ahead.moment(clock.step)
        forward = self.forward(batch, clock, bool(needs & GRADIENTS), optional=not least & GRADIENTS)
        needs = needs if forward.anchor else least
        players = [member.player for member in self.members]
        self.failed = wrong_labels(forward) | self.failed
        warn_of_absent(forward, players, self._remarked)
        numbers, layout = self._seen(forward, clock, needs)
        weighed = self._ask(numbers, layout, forward)
        parts = [
            (weighed.weights[:, i].to(scalar.dtype) * scalar).sum()
            for i, scalar in enumerate(forward.losses.scalars)
            if scalar is not None
        ]
        (torch.stack(parts).sum() / self.accumulate).backward()
        self.failed = not_finite(weighed, players) | self.failed
        known = weighed.weights.isfinite() & forward.losses.present
        self.last = torch.where(known, weighed.weights, self.last)
        self._window.append((weighed.numbers, layout))
        self.ahead.note(batch, moment, weighed)
        self.weighed = weighed
        return weighed

    def step(self) -> None:
        """Let the weightings learn from the window, and make the optimiser's step."""
        window, self._window = self._window, []
        self.samples.learn()
        step = window[-1][1].clock.step
        self.ahead.begin(step)
        if self.clip.apply([of.grad for of in self.stacked.parameters.values() if of.grad is not None]):
            self.ahead.clipped()
        self.optimizer.step()
        found = with_outcome([numbers for numbers, _ in window], self.ahead.outcome(step))
        self.failed = self.ahead.failed | self.failed
        for members, party in self.parties:
            own = [_chosen(numbers, members, len(self)) for numbers in found]
            party.learn(own, [layout for _, layout in window])
        for member in self.members:
            if member.scheduler is not None:
                member.scheduler.step()

    def drop(self, members: Sequence[int]) -> list[Member]:
        """Take ``members`` out and return them; the others are as before."""
        self.settle()
        kept = [i for i in range(len(self)) if i not in set(members)]
        gone = [self.members[i] for i in members]
        self.members = [self.members[i] for i in kept]
        self.models = [self.models[i] for i in kept]
        self._scheduled = self._with_schedules()
        self.failed = {}
        if not kept:
            return gone
        self.stacked.keep(kept)
        self.samples.keep(kept)
        self.forward.player = self.members[0].player
        self.optimizer.keep(kept, list(self.stacked.parameters.values()))
        self.ahead.keep(self.members)
        chosen = torch.tensor(kept, device=self.last.device)
        self.last, self._unbalanced = self.last[chosen], self._unbalanced[chosen]
        place, parties = {old: new for new, old in enumerate(kept)}, []
        for of, party in self.parties:
            if left := [j for j, i in enumerate(of) if i in place]:
                party.keep(left)
                parties.append(([place[of[j]] for j in left], party))
        self.parties = parties
        return gone

    def settle(self) -> None:
        """Write to the members' own players what the fleet keeps for them."""
        for m, member in enumerate(self.members):
            member.player.last.copy_(self.last[m])
            member.player.unbalanced.copy_(self._unbalanced[m])

    @contextmanager
    def optimizer_state(self, m: int) -> Iterator[None]:
        """Within it the optimiser of member ``m`` has the state that the fleet keeps for it."""
        own = self.members[m].optimizer
        for parameter, state in zip(self.models[m].parameters(), self.optimizer.state, strict=True):
            if state:
                own.state[parameter] = self.optimizer.state_of(m, state)
        try:
            yield
        finally:
            own.state.clear()

    def _with_schedules(self) -> list[Loss | Penalties]:
        losses = [part for model in self.models for part in model.parts() if part.schedules]
        penalties = [of for of in (member.penalties for member in self.members) if of is not None and of.scheduled]
        return [*losses, *penalties]

    def _follow(self, progress: float) -> None:
        """Set the numbers of losses and penalties that have a schedule."""
        for part in self._scheduled:
            part.follow(progress)
        if self._scheduled:
            self.stacked.read_numbers()

    def _parties(self, compared: int) -> list[tuple[list[int], Party]]:
        alike: dict[str, list[int]] = {}
        for m, member in enumerate(self.members):
            alike.setdefault(structure(member.player.weighting), []).append(m)
        return [(of, Party([self.members[m].player.weighting for m in of], compared)) for of in alike.values()]

    def _seen(self, forward: Forward, clock: Clock, needs: Need) -> tuple[Numbers, Layout]:
        losses, player = forward.losses, self.members[0].player
        terms = player.terms
        declared = tuple(a or b for a, b in zip(player.declared, forward.declared, strict=True))
        numbers: Numbers = {"values": losses.values, "counts": losses.counts, "present": losses.present}
        base, own = [member.player.terms.base for member in self.members], terms
        if any(of != base[0] for of in base):
            numbers["base"] = torch.tensor(base, dtype=torch.float32, device=losses.values.device)
            own = terms.with_base(numbers["base"].unbind(1))
        if declared != player.declared:
            for member in self.members:
                member.player.declared = declared
            self._unbalanced.logical_or_(flags(declared, self._unbalanced.device))
        reached: tuple[bool, ...] | None = None
        items: tuple[int, ...] = ()
        templates: Mapping[str, Any] = {}
        if needs & GRADIENTS:
            parameters = isinstance(forward.anchor[0], str)
            tensors = [self.stacked.parameters[of] if isinstance(of, str) else of for of in forward.anchor]
            trained = [i for i, of in enumerate(tensors) if of.requires_grad or not parameters]
            place = {i: new for new, i in enumerate(trained)}
            of_loss = [tuple(place[i] for i in of if i in place) for of in forward.of_loss]
            numbers["signals"], templates, reached, rows, items = measure_members(
                own.scalars(losses), [tensors[i] for i in trained], of_loss, needs, parameters
            )
            if not any(reached):
                raise SignalError(
                    "An anchor must be reached by at least one loss, but none of the losses depends on it. Compute the "
                    "losses from the very tensor that is the anchor."
                )
            if parameters and self.accumulate > 1:
                numbers["rows"] = rows
        known = reached is not None and all(reached)
        weightings = enumerate(member.player.weighting for member in self.members)
        # As alone: a weighting that compares gradients at some steps goes by what it found, at the others.
        if any(declared) or any(
            w.needs & GRADIENTS and not (known and self._compares(m, clock.step)) for m, w in weightings
        ):
            numbers["unbalanced"] = self._unbalanced
        if reached is not None:
            for m, member in enumerate(self.members):
                if self._compares(m, clock.step):
                    member.player.reach.see(losses.scalars, reached, declared, clock.step)
            self._note_reached(losses, reached, declared, clock.step)
        layout = Layout(terms, clock, losses.whole, losses.masked, any(declared), reached, items, templates)
        return numbers, layout

    def _note_reached(self, losses: Reduced, reached: Sequence[bool], declared: Sequence[bool], step: int) -> None:
        device, units = self._unbalanced.device, self.members[0].player.terms.members
        if all(reached) and not any(declared):
            found = torch.zeros_like(self._unbalanced)
        else:
            here = torch.stack([losses.present[:, list(of)].any(1) for of in units], 1)
            found = torch.where(here, ~flags(tuple(reached), device), self._unbalanced)
            found = found.logical_or(flags(tuple(declared), device)).float()
        compares = flags(tuple(self._compares(m, step) for m in range(len(self))), device)
        self._unbalanced = torch.where(compares[:, None], found, self._unbalanced)

    def _ask(self, numbers: Numbers, layout: Layout, forward: Forward) -> StackedWeighed:
        parts: list[tuple[list[int], tuple[Tensor, ...]]] = []
        with torch.no_grad():
            for members, party in self.parties:
                parts.append((members, party.ask(_chosen(numbers, members, len(self)), layout)))
        order = [m for members, _ in parts for m in members]
        found = [torch.cat(of) if len(of) > 1 else of[0] for of in zip(*(of for _, of in parts), strict=True)]
        if order != list(range(len(self))):
            back = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=self.last.device)
            found = [of[back] for of in found]
        weights, seen, balanced, counts = found
        numbers = {**numbers, "weights": weights, "seen": seen, "balanced": balanced, "unit_counts": counts}
        losses = replace(
            forward.losses, scalars=tuple(None if one is None else one.detach() for one in forward.losses.scalars)
        )
        return StackedWeighed(
            losses,
            numbers,
            layout,
            tuple(self._needs(m, layout.clock.step) for m in range(len(self))),
            self.samples.last,
            self._probes(layout.clock.step),
        )

    def _probes(self, step: int) -> bool:
        """Whether gradients are compared for the record: the first micro-batch of a step is the one in it."""
        return self.probe is not None and self.probe(step) and not self._window

    def _compares(self, m: int, step: int) -> bool:
        """Whether the weighting of member ``m`` compares gradients at ``step``."""
        return bool(self._needs(m, step))

    def _needs(self, m: int, step: int) -> Need:
        """What the weighting of member ``m`` needs to know of the gradients at ``step``."""
        return self.members[m].player.weighting.needs_at(step) & GRADIENTS


def _chosen(numbers: Numbers, members: Sequence[int], size: int) -> Numbers:
    if len(members) == size:
        return numbers
    at = torch.tensor(list(members))
    found: Numbers = pytree.tree_map(lambda tensor: tensor[at], numbers)
    return found
