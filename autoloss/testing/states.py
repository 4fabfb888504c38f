"""Checks of a weighting's state, and of its needs."""

from __future__ import annotations

import io
import math

import torch

from autoloss.core.need import OUTCOME, Need
from autoloss.testing import streams
from autoloss.testing.subject import Subject, changed, follow, learn, same, state_of


class StateChecks(Subject):
    """``forward`` reads state, ``update`` writes it; casts, checkpoints and non-finite losses do no harm."""

    def test_forward_writes_nothing(self) -> None:
        weighting = self.bound()
        for signals in self.stream():
            before = state_of(weighting)
            first, second = weighting(signals).clone(), weighting(signals)
            assert same(first, second), (
                f"forward must give the same answer twice, but at step {signals.step} it gave "
                f"{first.tolist()}, then {second.tolist()}."
            )
            written = changed(before, state_of(weighting))
            assert not written, f"forward must write no state, but it wrote {', '.join(written)}. Write it in update."
            learn(weighting, signals)

    def test_state_survives_a_checkpoint(self) -> None:
        weighting, fresh, signals = self.bound(), self.bound(), self.stream(steps=self.steps + 20)
        follow(weighting, signals[: self.steps])
        file = io.BytesIO()
        torch.save(weighting.state_dict(), file)
        file.seek(0)
        fresh.load_state_dict(torch.load(file, weights_only=True))
        rest = follow(weighting, signals[self.steps :])
        resumed = follow(fresh, self.stream(steps=self.steps + 20)[self.steps :])
        for step, (one, other) in enumerate(zip(rest, resumed, strict=True)):
            assert same(one, other), (
                f"A loaded checkpoint must go on as the uninterrupted run, but {step} steps after it the weights are "
                f"{other.tolist()} instead of {one.tolist()}. Everything that update learns must be add_state'd."
            )

    def test_has_no_parameters(self) -> None:
        found = [name for name, _ in self.bound().named_parameters()]
        assert not found, (
            f"A weighting must hold no parameters, but it has {', '.join(found)}. "
            "The user's optimiser would take them: use add_state."
        )

    def test_state_is_float32(self) -> None:
        found = [f"{n} in {b.dtype}" for n, b in self.bound().named_buffers() if b.dtype.is_floating_point]
        wrong = [text for text in found if not text.endswith("float32")]
        assert not wrong, f"State must be float32, but it has {', '.join(wrong)}."

    def test_casts_leave_the_state_alone(self) -> None:
        weighting = self.bound()
        follow(weighting, self.stream(steps=4))
        before = state_of(weighting)
        for cast in (weighting.half, weighting.bfloat16, weighting.double):
            cast()
            moved = changed(before, state_of(weighting))
            assert not moved, f".{cast.__name__}() must leave the state as it is, but it changed {', '.join(moved)}."

    def test_a_loss_that_is_not_finite_moves_no_state(self) -> None:
        weighting = self.bound()
        for signals in self.stream():
            for value in (math.nan, math.inf):
                for losses in ([0], range(len(self.names))):
                    bad = streams.poisoned(signals, list(losses), value)
                    try:
                        weighting(bad)
                        before = state_of(weighting)
                        learn(weighting, bad)
                    except Exception as error:
                        raise AssertionError(
                            f"A loss of {value} must raise nothing here (training names the loss, or leaves the batch "
                            f"out), but step {signals.step} raised {type(error).__name__}: {error}"
                        ) from error
                    moved = changed(before, state_of(weighting))
                    assert not moved, f"A loss of {value} must move no state, but it moved {', '.join(moved)}."
            learn(weighting, signals)

    def test_needs_at_is_part_of_needs(self) -> None:
        weighting = self.bound()
        for step in [*range(64), 100, 1000, 10**6]:
            surplus = weighting.needs_at(step) & ~(weighting.needs | Need.VALUES)
            assert not surplus, (
                f"needs_at must ask for part of `needs`, but at step {step} it adds {surplus}. Add it to `needs`."
            )

    def test_needs_are_enough(self) -> None:
        """The weighting gets exactly the signals that it needs; reading another one raises ``SignalError``.

        Signals that are measured after a step are given to ``update`` alone.
        """
        weighting = self.bound()
        for signals in self.stream(steps=24):
            needs = weighting.needs_at(signals.step)
            weighting(streams.only(signals, needs & ~OUTCOME))
            learn(weighting, streams.only(signals, needs))
