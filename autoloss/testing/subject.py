"""The weighting that a suite tests, and how training would use it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn

from autoloss.core.signals import Signals
from autoloss.core.tensors.state import commit
from autoloss.core.weighting import Weighting
from autoloss.testing import streams


class Subject:
    """What a plugin author says about the weighting under test, and what every check does with it.

    Override :meth:`weighting`, and ``names`` if its parameters name losses: put those first, and let
    ``fewest`` say how many losses it needs at least. ``steps`` is the length of a trajectory: raise it
    for a method whose state needs more steps to have an effect. ``tolerance`` is relative.
    """

    names: tuple[str, ...] = ("a", "b", "c")
    fewest: int = 1
    steps: int = 8
    tolerance: float = 1e-4
    device: str = "cpu"

    def weighting(self) -> Weighting:
        """A new weighting, not bound to losses yet."""
        raise NotImplementedError("Override weighting() to return a new instance of the weighting under test.")

    def bound(self, names: Sequence[str] | None = None) -> Weighting:
        """A new weighting for the losses ``names``."""
        return self.weighting().bind(self.names if names is None else names).to(self.device)

    def stream(self, steps: int | None = None, seed: int = 0, width: int = 16) -> list[Signals]:
        """New signals for a trajectory of :attr:`names`."""
        return streams.stream(self.names, steps or self.steps, seed, width, self.device)

    def factors(self, by: float, losses: Iterable[int]) -> list[float]:
        """``by`` for ``losses`` (by position), 1 for the others."""
        chosen = set(losses)
        return [by if i in chosen else 1.0 for i in range(len(self.names))]


def learn(weighting: Weighting, signals: Signals) -> None:
    """One update as training does it: only what is finite, and no row of an absent loss."""
    commit(weighting, lambda: weighting.update(signals), signals.finite(), signals.present)


def follow(weighting: Weighting, signals: Iterable[Signals]) -> list[Tensor]:
    """The weights [K] at each of ``signals``, learning from each after it."""
    weights = []
    for measured in signals:
        weights.append(weighting(measured).detach().clone())
        learn(weighting, measured)
    return weights


def state_of(weighting: nn.Module) -> dict[str, Tensor]:
    """A copy of every buffer, also of those that no checkpoint holds."""
    return {name: buffer.detach().clone() for name, buffer in weighting.named_buffers()}


def same(one: Tensor, other: Tensor) -> bool:
    """Are two tensors equal bit for bit, NaN equal to NaN?"""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> list[str]:
    """The names of the buffers that differ, or that only one of the two has."""
    return sorted(
        name
        for name in before.keys() | after.keys()
        if name not in before or name not in after or not same(before[name], after[name])
    )


def expect_finite(weights: Iterable[Tensor], where: str) -> None:
    """Fail unless the weights of every step are finite."""
    for step, given in enumerate(weights):
        assert bool(given.isfinite().all()), (
            f"Weights must be finite {where}, but at step {step} they are {given.tolist()}."
        )
