"""Weightings of one structure: they are mapped where they can be, and called one by one where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from autoloss.core.signals import AFTER_STEP, Signals
from autoloss.core.tensors.precision import exact
from autoloss.core.tensors.state import changes, commit
from autoloss.core.weighting import Weighting
from autoloss.training.fleet.layout import Layout
from autoloss.training.fleet.repeated import Repeated, chosen
from autoloss.training.fleet.stacked import Stacked, UnlikeError
from autoloss.training.fleet.weighing import OF_BATCH, OF_WINDOW, Numbers, ask_one, member_of, seen_by, weighed_of
from autoloss.training.step.window import Window

TRIALS = 2  # steps in which mapped weightings are compared with those that are called one by one


class Party:
    """Members whose weightings are of one structure; ``weightings`` are theirs."""

    def __init__(self, weightings: Sequence[nn.Module], compared: int = TRIALS) -> None:
        self.weightings = list(weightings)
        self.stacked: Stacked | None = None
        self.why = ""
        self._trials, self._copies = compared, deepcopy(self.weightings) if compared else []
        try:
            self.stacked = Stacked(self.weightings)
        except UnlikeError as error:
            self._alone(str(error))
        self.asked = Repeated(self._asked)
        self.learnt = Repeated(self.learned, self.asked)
        self._at: Tensor | None = None
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
    def learns(self) -> bool:
        """Whether there is anything to do when a window ends: a mapped weighting without state has nothing to learn."""
        return self.stacked is None or not self.stateless or self._trials > 0

    @property
    def mapped(self) -> bool:
        """Whether the weightings are called at once."""
        return self.stacked is not None

    def place(self, members: Sequence[int], size: int) -> None:
        """Say which of ``size`` members of a fleet these are: numbers are given of all."""
        self._at = None if len(members) == size else torch.tensor(list(members))

    def ask(self, numbers: Numbers, layout: Any) -> tuple[Tensor, ...]:
        """The results of :func:`ask_one` for all, stacked; ``numbers`` are those of the fleet."""
        if self.stacked is None:
            return self._each(self.weightings, numbers, layout)
        try:
            with exact(_device(numbers)):
                found: tuple[Tensor, ...] = self.asked(self.stacked, numbers, [layout], self._at)
        except Exception as error:
            # Whatever vmap cannot do, torch says in exceptions of many kinds. A fault of the weighting is raised below.
            self._alone(str(error))
            return self._each(self.weightings, numbers, layout)
        if self.asked.why and len(self.weightings) == 1:
            # To map one pays only where its operations are repeated.
            self._alone(self.asked.why)
        if self._trials and self.stacked is not None:
            expected = self._each(self._copies, numbers, layout)
            if not _close(found, expected):
                self._alone("it gives other weights")
                return expected
        return found

    def learn(self, window: Sequence[Numbers], layouts: Sequence[Any], left_out: Sequence[Sequence[bool]] = ()) -> None:
        """Let all learn from a window of the fleet; ``left_out`` says by micro-batch who of these does not."""
        less = [j for j, of in enumerate(zip(*left_out, strict=True)) if any(of)]
        before = {j: {name: of.clone() for name, of in self.weightings[j].named_buffers()} for j in less}
        self._learn(window, layouts)
        for j, state in before.items():
            own = [i for i, out in enumerate(left_out) if not out[j]]
            weighting, copies = self.weightings[j], self._copies[j : j + 1]
            _write(weighting, state)
            if own:
                seen = [chosen(window[i], self._at) for i in own]
                self.learn_one(weighting, [member_of(numbers, j) for numbers in seen], [layouts[i] for i in own])
            for copy in copies:
                _write(copy, dict(weighting.named_buffers()))

    def _learn(self, window: Sequence[Numbers], layouts: Sequence[Any]) -> None:
        if self.stacked is None:
            self._learn_each(self.weightings, window, layouts)
            return
        if not self.stateless:
            try:
                with exact(_device(window[0])), torch.no_grad():
                    learned = self.learnt(self.stacked, list(window), layouts, self._at)
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
            self.asked.forget()
            self.learnt.forget()

    def _asked(self, weighting: Any, numbers: Numbers, layouts: Sequence[Any]) -> tuple[Tensor, ...]:
        return self.ask_one(weighting, numbers, layouts[0])

    def _alone(self, why: str) -> None:
        """Call the weightings one by one from now on, from the state of the copies."""
        self.stacked, self.why = None, why.splitlines()[0] if why else ""
        for weighting, copy in zip(self.weightings, self._copies, strict=False):
            own = dict(copy.named_buffers())
            for name, _ in list(weighting.named_buffers()):
                owner, _, key = name.rpartition(".")
                weighting.get_submodule(owner)._buffers[key] = own[name].clone()

    def _each(self, weightings: Sequence[nn.Module], numbers: Numbers, layout: Any) -> tuple[Tensor, ...]:
        own = chosen(numbers, self._at)
        found = [self.ask_one(weighting, member_of(own, m), layout) for m, weighting in enumerate(weightings)]
        return tuple(torch.stack(of) for of in zip(*found, strict=True))

    def _learn_each(self, weightings: Sequence[nn.Module], window: Sequence[Numbers], layouts: Sequence[Any]) -> None:
        own = [chosen(numbers, self._at) for numbers in window]
        for m, weighting in enumerate(weightings):
            self.learn_one(weighting, [member_of(numbers, m) for numbers in own], layouts)


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


def _write(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    for name, buffer in module.named_buffers():
        buffer.copy_(state[name])


def _device(numbers: Numbers) -> str:
    device: torch.device = pytree.tree_leaves(numbers)[0].device
    return device.type


def _close(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(
        a.shape == b.shape and torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-7, equal_nan=True)
        for a, b in zip(found, expected, strict=True)
    )
