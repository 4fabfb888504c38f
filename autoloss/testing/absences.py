"""Checks of a weighting when a batch has no items of some loss."""

from __future__ import annotations

import torch

from autoloss.core.signals import Signals
from autoloss.testing import streams
from autoloss.testing.subject import Subject, expect_finite, follow, learn, same, state_of


class AbsenceChecks(Subject):
    """An absent loss breaks nothing, does not affect the others, and learns nothing."""

    def test_absent_losses_break_nothing(self) -> None:
        size = len(self.names)
        for losses in [[i] for i in range(size)] + [[j for j in range(size) if j != i] for i in range(size)]:
            present = torch.tensor([i not in losses for i in range(size)])
            if not present.any():
                continue
            for when in (range(0, 2), range(3, 5)):
                signals = self._without(losses, when)
                weights = follow(self.bound(), signals)
                names = ", ".join(self.names[i] for i in losses)
                here = [w if s.step not in when else w[present] for w, s in zip(weights, signals, strict=True)]
                expect_finite(here, f"where {names} is absent from step {when.start} to {when.stop - 1}")

    def test_an_absent_loss_says_nothing(self) -> None:
        """The value in its place (1 in training) does not affect the others."""
        for absent in range(len(self.names)):
            others = [i for i in range(len(self.names)) if i != absent]
            usual = follow(self.bound(), self._without([absent], range(2, self.steps)))
            for filler in (0.01, 100.0):
                strange = follow(self.bound(), self._without([absent], range(2, self.steps), filler))
                for step, (one, other) in enumerate(zip(usual, strange, strict=True)):
                    assert torch.allclose(one[others], other[others], rtol=1e-5, equal_nan=True), (
                        "The value in the place of an absent loss must not affect the others, but at step "
                        f"{step} their weights are {one[others].tolist()} for 1 and {other[others].tolist()} for "
                        f"{filler:g}. "
                        "Mask with signals.present."
                    )

    def test_an_absent_loss_learns_nothing(self) -> None:
        """Its part of the state, the rows (and columns) of buffers that grow with K, stays as it was."""
        dimensions = self._loss_dimensions()
        for absent in range(len(self.names)):
            weighting = self.bound()
            for signals in self._without([absent], range(1, self.steps, 2)):
                before = state_of(weighting)
                weighting(signals)
                learn(weighting, signals)
                if signals.step % 2 == 0:
                    continue
                after = state_of(weighting)
                for name, of_losses in dimensions.items():
                    for dimension in of_losses:
                        rows = (state[name].select(dimension, absent) for state in (before, after))
                        assert same(*rows), (
                            f"A step must not change the state of an absent loss, but step {signals.step} changed the "
                            f"absent loss's part of `{name}`. Write add_state(..., axes={dimension + 1})."
                        )

    def _without(self, losses: list[int], when: range, filler: float = 1.0) -> list[Signals]:
        return [streams.absent(s, losses, filler) if s.step in when else s for s in self.stream()]

    def _loss_dimensions(self) -> dict[str, list[int]]:
        size = len(self.names)
        larger = dict(self.bound((*self.names, "one_more")).named_buffers())
        return {
            name: [d for d, n in enumerate(buffer.shape) if n == size and larger[name].shape[d] == size + 1]
            for name, buffer in self.bound().named_buffers()
            if buffer.dim() == larger[name].dim()
        }
