"""The weights of M members: their weightings are mapped where they can be, and called one by one where not."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from autoloss.core.measured.signal import AfterStep
from autoloss.core.need import GRADIENTS
from autoloss.core.signals import AFTER_STEP, Signals
from autoloss.core.table import Reduced
from autoloss.core.tensors.constants import flags
from autoloss.core.tensors.precision import exact
from autoloss.core.tensors.state import changes, commit
from autoloss.core.terms import Terms
from autoloss.core.weighting import Weighting
from autoloss.probe import Measured
from autoloss.training.fleet.layout import Layout
from autoloss.training.fleet.measure import like
from autoloss.training.fleet.stacked import Stacked, UnlikeError, mapped
from autoloss.training.step.weigh import Weighed, ask
from autoloss.training.step.window import Window

OF_BATCH, OF_WINDOW = "outcome of batch", "outcome of window"  # what was measured after a step, among the numbers
TRIALS = 2  # steps in which mapped weightings are compared with those that are called one by one
Numbers = dict[str, Any]


def ask_one(weighting: Weighting, numbers: Numbers, layout: Layout) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The effective weights [N], the values and the presence [K] that ``weighting`` saw, and the counts [K]."""
    numbers, layout = seen_by(weighting, numbers, layout)
    weights, signals, counts = ask(
        losses_of(numbers, layout),
        weighting,
        terms_of(numbers, layout),
        layout.clock,
        measured_of(numbers, layout),
        numbers.get("unbalanced"),
        any(layout.declared),
    )
    return weights, signals.values, signals.present, counts


def member_of(numbers: Numbers, member: int) -> Numbers:
    """The numbers of one member."""
    found: Numbers = pytree.tree_map(lambda tensor: tensor[member], numbers)
    return found


def seen_by(weighting: Weighting, numbers: Numbers, layout: Layout) -> tuple[Numbers, Layout]:
    """What ``weighting`` sees: not the gradients that others need in this step, nor whom they reached."""
    if not any(layout.declared) and not weighting.needs & GRADIENTS:
        numbers = {key: value for key, value in numbers.items() if key != "unbalanced"}
    compares = weighting.needs_at(layout.clock.step) & GRADIENTS
    return (numbers, layout) if compares else without_gradients(numbers, layout)


def with_outcome(
    window: Sequence[Numbers], outcome: Sequence[tuple[AfterStep, Tensor | list[Tensor]]]
) -> list[Numbers]:
    """``window`` with what was measured after its step: of the window as a whole, or of each micro-batch."""
    if not outcome:
        return list(window)
    whole = {signal.name: of for signal, of in outcome if isinstance(of, Tensor)}
    each = {signal.name: of for signal, of in outcome if not isinstance(of, Tensor)}
    return [
        {**numbers, OF_WINDOW: whole, OF_BATCH: {name: of[i] for name, of in each.items()}}
        for i, numbers in enumerate(window)
    ]


def gathered(losses: Reduced, base: Tensor | None, layout: Layout) -> tuple[Tensor, Tensor, Tensor]:
    """The units' values, counts and presence, [M, K] each; ``base`` [M, N] are base weights that differ."""
    if base is None and layout.terms.plain:
        return losses.values, losses.counts, losses.present
    numbers = {"values": losses.values, "counts": losses.counts, "present": losses.present}
    found: tuple[Tensor, Tensor, Tensor] = mapped(
        lambda of: terms_of(of, layout).gather(losses_of(of, layout)), _with(numbers, base)
    )
    return found


def collected(slopes: Tensor, base: Tensor | None, layout: Layout) -> Tensor:
    """The derivatives for the units' weights [M, K], from those for the losses' effective weights [M, N]."""
    found: Tensor = mapped(lambda of: terms_of(of, layout).collect(of["slopes"]), _with({"slopes": slopes}, base))
    return found


def without_gradients(numbers: Numbers, layout: Layout) -> tuple[Numbers, Layout]:
    """What a weighting sees that compares no gradients, where others do."""
    if layout.reached is None:
        return numbers, layout
    left = {key: value for key, value in numbers.items() if key not in ("signals", "rows", "reached")}
    return left, replace(layout, reached=None, items=(), templates={})


def weighed_of(numbers: Numbers, layout: Layout) -> Weighed:
    """A micro-batch of one member, without a graph; ``numbers`` hold what the weighting saw and gave, too."""
    measured, clock, losses = measured_of(numbers, layout), layout.clock, losses_of(numbers, layout)
    signals = Signals(
        layout.terms.units,
        numbers["seen"],
        numbers["balanced"],
        clock.step,
        clock.epoch,
        clock.progress,
        clock.plateaus,
        whole=layout.whole and (layout.balanced or ("unbalanced" not in numbers and not layout.reached)),
        **{f"measured_{name}": value for name, value in (measured.signals if measured else {}).items()},
    )
    # At a fork the total has the base weights, which the heads get.
    total = numbers["total"] if "total" in numbers else (numbers["weights"] * losses.values).sum()
    return Weighed(total, numbers["weights"], losses, signals, numbers["unit_counts"], measured)


class Party:
    """Members whose weightings are of one structure; ``weightings`` are theirs."""

    def __init__(self, weightings: Sequence[nn.Module], compared: int = TRIALS) -> None:
        self.weightings = list(weightings)
        self.stacked: Stacked | None = None
        self.why = ""
        self._trials, self._copies = compared, deepcopy(self.weightings) if compared else []
        if len(self.weightings) > 1:
            try:
                self.stacked = Stacked(self.weightings)
            except UnlikeError as error:
                self._alone(str(error))
        self.stateless = next(self.weightings[0].buffers(), None) is None

    def ask_one(self, weighting: Any, numbers: Numbers, layout: Any) -> tuple[Tensor, ...]:
        """What one weighting answers, mapped or by itself."""
        return ask_one(weighting, numbers, layout)

    def learn_one(self, weighting: Any, window: Sequence[Numbers], layouts: Sequence[Any]) -> None:
        """Let one weighting learn from a window, by itself."""
        _learn_one(weighting, window, layouts)

    def learned(self, weighting: Any, window: Sequence[Numbers], layouts: Sequence[Any]) -> dict[str, Tensor]:
        """The buffers of one weighting after it learned from a window, mapped."""
        return _learned(weighting, window, layouts)

    @property
    def mapped(self) -> bool:
        """Whether the weightings are called at once."""
        return self.stacked is not None

    def ask(self, numbers: Numbers, layout: Any) -> tuple[Tensor, ...]:
        """The results of :func:`ask_one` for all, stacked."""
        if self.stacked is None:
            return self._each(self.weightings, numbers, layout)
        try:
            with exact(_device(numbers)):
                found: tuple[Tensor, ...] = self.stacked.call(self.ask_one, numbers, shared=(layout,))
        except Exception as error:
            # Whatever vmap cannot do, torch says in exceptions of many kinds. A fault of the weighting is raised below.
            self._alone(str(error))
            return self._each(self.weightings, numbers, layout)
        if self._trials:
            expected = self._each(self._copies, numbers, layout)
            if not _close(found, expected):
                self._alone("it gives other weights")
                return expected
        return found

    def learn(self, window: Sequence[Numbers], layouts: Sequence[Any]) -> None:
        """Let all learn from a window."""
        if self.stacked is None:
            self._learn_each(self.weightings, window, layouts)
            return
        if not self.stateless:
            try:
                with exact(_device(window[0])), torch.no_grad():
                    learned = self.stacked.call(self.learned, list(window), shared=(list(layouts),))
            except Exception as error:
                self._alone(str(error))
                self._learn_each(self.weightings, window, layouts)
                return
            for name, value in learned.items():
                self.stacked.buffers[name].copy_(value)
        if self._trials:
            self._trials -= 1
            self._learn_each(self._copies, window, layouts)
            expected = [dict(copy.named_buffers()) for copy in self._copies]
            if not all(
                _close([buffer[m]], [of[name]])
                for name, buffer in self.stacked.buffers.items()
                for m, of in enumerate(expected)
            ):
                self._alone("it learns something else")
            if not self._trials:
                self._copies = []

    def keep(self, members: Sequence[int]) -> None:
        """Drop all but ``members``."""
        self.weightings = [self.weightings[i] for i in members]
        self._copies = [self._copies[i] for i in members] if self._copies else []
        if self.stacked is not None:
            self.stacked.keep(members)

    def _alone(self, why: str) -> None:
        """Call the weightings one by one from now on, from the state of the copies."""
        self.stacked, self.why = None, why.splitlines()[0] if why else ""
        for weighting, copy in zip(self.weightings, self._copies, strict=False):
            own = dict(copy.named_buffers())
            for name, _ in list(weighting.named_buffers()):
                owner, _, key = name.rpartition(".")
                weighting.get_submodule(owner)._buffers[key] = own[name].clone()

    def _each(self, weightings: Sequence[nn.Module], numbers: Numbers, layout: Any) -> tuple[Tensor, ...]:
        found = [self.ask_one(weighting, member_of(numbers, m), layout) for m, weighting in enumerate(weightings)]
        return tuple(torch.stack(of) for of in zip(*found, strict=True))

    def _learn_each(self, weightings: Sequence[nn.Module], window: Sequence[Numbers], layouts: Sequence[Any]) -> None:
        for m, weighting in enumerate(weightings):
            self.learn_one(weighting, [member_of(numbers, m) for numbers in window], layouts)


def _learn_one(weighting: Weighting, window: Sequence[Numbers], layouts: Sequence[Layout]) -> None:
    signals = _signals(weighting, window, layouts)
    if next(weighting.buffers(), None) is None:
        weighting.update(signals)
        return
    present = None if signals.whole else signals.present
    commit(weighting, lambda: weighting.update(signals), signals.finite(), present)


def _learned(weighting: Weighting, window: Sequence[Numbers], layouts: Sequence[Layout]) -> dict[str, Tensor]:
    """Let ``weighting`` learn from a window; its buffers then."""
    signals = _signals(weighting, window, layouts)
    present = None if signals.whole else signals.present
    found = changes(weighting, lambda: weighting.update(signals), signals.finite(), present)
    return {name: torch.where(keep, now, before) for name, keep, now, before in found}


def _device(numbers: Numbers) -> str:
    device: torch.device = pytree.tree_leaves(numbers)[0].device
    return device.type


def _with(numbers: Numbers, base: Tensor | None) -> Numbers:
    return numbers if base is None else {**numbers, "base": base}


def losses_of(numbers: Numbers, layout: Layout) -> Reduced:
    """The losses of one member, without their graphs."""
    return Reduced((), numbers["values"], numbers["counts"], numbers["present"], layout.masked, whole=layout.whole)


def terms_of(numbers: Numbers, layout: Layout) -> Terms:
    """The losses' names and units, with the base weights of one member."""
    return layout.terms.with_base(numbers["base"].unbind()) if "base" in numbers else layout.terms


def measured_of(numbers: Numbers, layout: Layout) -> Measured | None:
    """What was measured of one member's gradients; ``None`` if nothing was."""
    if layout.reached is None:
        return None
    signals = {name: like(name, layout.templates[name], parts) for name, parts in numbers["signals"].items()}
    rows, items = numbers.get("rows"), layout.items
    if "reached" in numbers:
        return Measured(numbers["reached"], signals, rows, items)
    reached = flags(layout.reached, numbers["values"].device)
    return Measured(reached, signals, rows, items, whole=all(layout.reached), here=layout.reached)


def _signals(weighting: Weighting, window: Sequence[Numbers], layouts: Sequence[Layout]) -> Signals:
    """What the micro-batches of a window, and the outcome of their step, say to ``weighting`` as one batch."""
    own = [seen_by(weighting, *pair) for pair in zip(window, layouts, strict=True)]
    union, needs = Window([weighed_of(*pair) for pair in own]), weighting.needs_at(layouts[-1].clock.step)
    for signal in AFTER_STEP:
        if signal.need in needs:
            of_batch = [found[signal.name] for numbers in window if signal.name in (found := numbers[OF_BATCH])]
            union.observe(signal, of_batch or window[-1][OF_WINDOW][signal.name])
    found = union.take()
    assert found is not None
    return found


def _close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-7, equal_nan=True)
        for a, b in zip(found, expected, strict=True)
    )
