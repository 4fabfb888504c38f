"""One player: its losses, its weighting, and their state between steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from autoloss.core.clock import Clock
from autoloss.core.constraint import constraints_of
from autoloss.core.errors import SignalError, check_known
from autoloss.core.need import GRADIENTS
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.surgery import Surgery
from autoloss.core.table import LossTable, Reduced
from autoloss.core.tensors.compile import keep_compiled_buffers, uncompiled
from autoloss.core.tensors.constants import flags, number
from autoloss.core.tensors.state import commit, on_host
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe.anchor import locate
from autoloss.probe.fork import Fork
from autoloss.probe.fork_measure import own_group
from autoloss.probe.obstacles import check_obstacles
from autoloss.sample_weightings.uniform import Uniform
from autoloss.training.step.clock_check import check_base, check_clock
from autoloss.training.step.constraints import Constraints
from autoloss.training.step.contract import check_bound
from autoloss.training.step.forked import Met, combine, hold, look, weigh_forked
from autoloss.training.step.item_counts import Items, check_has_weights, shares
from autoloss.training.step.learns_after import LearnsAfter
from autoloss.training.step.loss_numbers import LossNumbers
from autoloss.training.step.nonfinite import NonFiniteWatch
from autoloss.training.step.notes import Notes
from autoloss.training.step.order import Order, check_order
from autoloss.training.step.reach import Reach
from autoloss.training.step.sample_weights import Sampled, SampleWeights
from autoloss.training.step.weigh import Weighed, weigh, weighted_sum
from autoloss.training.step.window import Window


class Player(LearnsAfter):
    """Weighs tables step after step: :meth:`step` for each micro-batch, :meth:`commit` for each optimiser step.

    ``weighed`` is the last micro-batch, ``notes`` takes further numbers to record of it, and ``probe`` says at which
    steps gradients are compared for the record alone (:meth:`watch_gradients`). ``listener`` is called with each
    weighed micro-batch and its notes; a recorder sets it. ``numbers`` of the losses are learned beside the weights, and
    so are the multipliers of ``constraints``: bounds by the name of a loss, or of one of the ``metrics`` that are
    measured (``None``: any name). Where there are several players, ``whose`` names this one in errors about its losses
    ("discriminator").
    """

    last: Tensor

    def __init__(
        self,
        names: Sequence[str] | Mapping[str, float | str],
        weighting: Weighting,
        base: Mapping[str, float | str] | None = None,
        groups: Mapping[str, Sequence[str]] | None = None,
        unbalanced: Sequence[str] = (),
        on_nonfinite: str = "raise",
        sample_weighting: SampleWeighting | None = None,
        size: int | None = None,
        whose: str = "",
        numbers: LossNumbers | None = None,
        constraints: Mapping[str, Any] | None = None,
        metrics: Collection[str] | None = None,
    ) -> None:
        super().__init__()
        self.terms = Terms(names, base, groups)
        self.weighting = weighting.bind(self.terms.units)
        check_bound(self.weighting)
        positive_for = self.weighting if weighting.positive else None
        self.nonfinite = NonFiniteWatch(self.terms.names, on_nonfinite, self.terms.units, positive_for, whose)
        check_known("loss", sample_weighting.terms if sample_weighting is not None else (), self.terms.names)
        self.samples: SampleWeights | None = None
        if sample_weighting is not None and not isinstance(sample_weighting, Uniform):
            self.samples = SampleWeights(self.terms.names, sample_weighting, size)
        sampled = self.samples.names if self.samples is not None else ()
        self.numbers = numbers
        learned = {} if numbers is None else {"learned numbers": numbers.names}
        bounds = constraints_of(constraints or {}, self.terms, metrics)
        self.constraints = Constraints(bounds, self.terms.names) if bounds else None
        if self.constraints is not None:
            self.terms.multiply(self.constraints.now()[0])
            learned["constraints"] = self.constraints.names
        self.order = Order(
            {"losses": self.terms.names, "units": self.terms.units, "samples' losses": sampled, **learned}
        )
        self.register_load_state_dict_pre_hook(check_order)
        self.reach = Reach(self.terms)
        self.window = Window([])
        self.notes = Notes()
        self.weighed: Weighed | None = None
        self.listener: Callable[[Weighed, Notes], None] | None = None
        self.probe: Callable[[int], bool] | None = None
        self._through: dict[str, bool] = {}
        # Operations on flags are slow, and each step would make several.
        self._compares = bool(self.weighting.needs & GRADIENTS)
        self._learns_after = bool(self.learns_after)
        self._checked = False
        with on_host():
            self.add_state("last", self.terms.spread(torch.ones(len(self.terms.units), dtype=torch.float32)).clone())
            self.add_unbalanced(unbalanced)
        if self._compares:
            keep_compiled_buffers()

    def watch_gradients(self, at: Callable[[int], bool] | None) -> None:
        """Compare gradients for the record ``at`` these steps where the weighting needs none; ``None``: never."""
        self.probe = at
        if at is not None:
            keep_compiled_buffers()

    def fork(self, features: Tensor, parameters: bool = False) -> Fork:
        """A copy of ``features`` for each loss, to be the anchor of the step."""
        keep_compiled_buffers()
        return Fork(features, self.terms.names, parameters)

    @uncompiled
    def step(
        self,
        table: LossTable,
        clock: Clock,
        scale: Tensor | None = None,
        accumulates: bool = False,
        items: Items | None = None,
    ) -> Weighed | None:
        """Weigh one micro-batch; ``None`` if a loss is not finite and such batches are left out.

        ``items`` is the window's number of items, if it is given: the total is then this micro-batch's part.
        The ``listener`` is called when the weights are known: at once, or in the backward if the anchor is a fork.
        """
        check_clock(self.weighting, clock)
        check_base(self.terms, clock)
        self.follow(clock.progress)
        self.declare(table)
        sampled: tuple[Sampled, ...] = ()
        if self.samples is not None:
            table, sampled = self.samples.weigh(table, clock)
        if isinstance(table.anchor, Fork):
            return self._step_forked(table, sampled, table.anchor, clock, accumulates, items)
        probe = self._probes(clock)
        measures = probe or (self._compares and self.weighting.needs_at(clock.step) & GRADIENTS)
        if measures and not self._checked and table.anchor is not None:
            values = [None if entry is None else entry.values for entry in map(table.entry, self.terms.names)]
            check_obstacles(values, locate(table.anchor, self.terms.units, self.weighting.title()))
            self._checked = True
        declared = any(self.declared)
        unbalanced = self.unbalanced if declared or self._compares else None
        weighed = weigh(
            table, self.weighting, self.terms, clock, scale, accumulates, unbalanced, declared, probe, items
        )
        if weighed.measured is not None:
            self.reach.see(weighed.losses.scalars, weighed.measured.here, self.declared, clock.step)
        if weighed.measured is not None and weighed.measured.whole and not declared:
            self.unbalanced.zero_()
        elif weighed.measured is not None:
            self.note_reached(self.terms.gather(weighed.losses)[2], weighed.measured.reached)
        if self.nonfinite.rejects(weighed, scale):
            return None
        if sampled:
            weighed = replace(weighed, sampled=sampled)
        bare = weighed.bare()  # what is kept must not keep the graph
        self._remember(bare)
        self.window.add(bare)
        self._tell(bare)
        return weighed

    @uncompiled
    def frozen(self, table: LossTable, clock: Clock | None = None, items: Items | None = None) -> Tensor:
        """The total with the last weights (with a fork: with the base weights); nothing is measured or learned.

        Samples are weighed if a ``clock`` is given, that is, in training.
        """
        if self.samples is not None and clock is not None:
            table, _ = self.samples.weigh(table, clock)
        losses = table.reduced(self.terms.names)
        if isinstance(table.anchor, Fork):
            return self._frozen_forked(losses, table.anchor, items)
        return weighted_sum(losses, self._parts(losses, self.last, items))

    def _parts(self, losses: Reduced, weights: Tensor, items: Items | None) -> Tensor:
        weights = torch.where(losses.present, weights, 0.0)
        return weights if items is None else weights * shares(losses, self.terms.names, items)

    def commit(self, stepped: Tensor | None = None) -> None:
        """Let the weighting learn from the window, if everything is finite and the optimiser ``stepped``."""
        self._learn(self.window, stepped)

    def close_window(self, stepped: Tensor | None = None) -> None:
        """Commit when the window is complete: at once, or when its last gradients have met in a fork."""
        window, self.window = self.window, Window([])
        window.closed = True
        if not window.pending:
            self._learn(window, stepped)

    def _learn(self, window: Window, stepped: Tensor | None = None) -> None:
        self.learn_numbers(window, stepped)
        sampled, signals = window.sampled(), window.take()
        if signals is None:
            return
        if self.samples is None and next(self.weighting.buffers(), None) is None:
            self.weighting.update(signals)
            return
        finite = signals.finite() if stepped is None else signals.finite() & stepped
        if self.samples is not None:
            self.samples.commit(sampled, finite)
        present = None if signals.whole else signals.present
        commit(self.weighting, lambda: self.weighting.update(signals), finite, present)

    def _probes(self, clock: Clock) -> bool:
        # The first micro-batch of a step is the one that is recorded.
        return self.probe is not None and self.probe(clock.step) and not self.window.steps

    def _remember(self, weighed: Weighed) -> None:
        self.weighed = weighed
        known = weighed.weights.abs() < number(math.inf, weighed.weights.device)
        if not weighed.losses.whole:
            known &= weighed.losses.present
        torch.where(known, weighed.weights, self.last, out=self.last)

    def check(self) -> None:
        """Raise errors and give warnings that were noted on the device."""
        self.nonfinite.check()
        for part in (self.samples, self.constraints):
            if part is not None:
                part.check()

    def _tell(self, weighed: Weighed) -> None:
        if self.listener is not None:
            self.listener(weighed, self.notes)

    def _step_forked(
        self,
        table: LossTable,
        sampled: tuple[Sampled, ...],
        fork: Fork,
        clock: Clock,
        accumulates: bool,
        items: Items | None,
    ) -> Weighed | None:
        if items is not None:
            check_has_weights(self.weighting)
        losses = table.reduced(self.terms.names)
        reached = look(fork, losses, self.terms, self.declared, self._through)
        if reached is not None:
            self.note_reached(self.reach.here(losses), flags(reached, self.unbalanced.device))
        weighed = replace(weigh_forked(losses, fork, self.terms, clock, self.kept, items), sampled=sampled)
        if self.nonfinite.rejects(weighed):
            return None
        # The graph keeps `meet` and all that it uses until the backward; none of that may keep the graph.
        bare, place, window, declared = weighed.bare(), fork.place, self.window, self.declared
        half = fork.features.dtype == torch.float16
        probe = self._probes(clock)
        group = own_group() if probe or self.weighting.needs & GRADIENTS else None

        def meet(gradients: Sequence[Tensor | None], scale: Tensor) -> Tensor:
            met = Met(gradients, scale, place, bare.share)
            met_by = met.reached(self.terms)
            self.reach.see(bare.losses.scalars, met_by, declared, clock.step)
            self.note_reached(self.reach.here(bare.losses), flags(met_by, self.unbalanced.device))
            settled, combined = combine(
                bare, met, self.weighting, self.terms, self.kept, declared, group, probe, accumulates
            )
            self._remember(settled)
            self.nonfinite.met(settled, scale, half)
            window.settle(bare, settled)
            self._tell(settled)
            if window.closed and not window.pending:
                self._learn(window)
            return combined

        fork.meets(meet)
        self.window.add(bare, pending=True)
        return weighed

    def _frozen_forked(self, losses: Reduced, fork: Fork, items: Items | None) -> Tensor:
        total = weighted_sum(losses, self._parts(losses, self.terms.factors(self.last.device), items))
        if not fork.token.requires_grad:
            return total
        last, place, title = self.last.clone(), fork.place, self.weighting.title()
        surgical = isinstance(self.weighting, Surgery)

        def meet(gradients: Sequence[Tensor | None], scale: Tensor) -> Tensor:
            if surgical:
                raise SignalError(
                    f"A backward of a frozen or evaluated total must have weights to use again, but {title!r} has "
                    "none. Go through the fork in training only."
                )
            return hold(Met(gradients, scale, place), last, self.terms)

        fork.meets(meet)
        return total + fork.token
