"""The step that the optimisers of members took, and its derivative with respect to the gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from autoloss.training.fleet.optimizers import StackedOptimizer
from autoloss.training.fleet.stacked import Stacked


class StepTaken:
    """Keeps what a step of the members ``who`` starts from: make one when the backward has ended.

    The step is ``p' = p - lr h(c g)``, with g the gradient of the total and c the factor of clipping, taken for a
    constant: as in :class:`autoloss.probe.optimizer_step.OptimizerStep`, which see.
    """

    def __init__(self, optimizer: StackedOptimizer, stacked: Stacked, who: Sequence[int]) -> None:
        self.optimizer, self.who = optimizer, list(who)
        self._gradients = {name: of.grad for name, of in stacked.parameters.items() if of.grad is not None}
        self._at = torch.tensor(self.who, device=next(iter(stacked.parameters.values())).device)
        self._places = {name: place for place, name in enumerate(stacked.parameters)}
        self.parameters = {name: of.detach()[self._at] for name, of in stacked.parameters.items()}
        self._before = {name: of[self._at] for name, of in self._gradients.items()}
        self._used = self._before
        self._numbers = optimizer.numbers_of(self.who)
        self._fresh = [not state for state in optimizer.state]

    def clipped(self) -> None:
        """The gradients were clipped, each in its place."""
        self._used = {name: of[self._at] for name, of in self._gradients.items()}

    def direction(self, gradient: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
        """``lr h'(c g) c`` times ``gradient`` times ``scale``, for each parameter that was stepped.

        The step's gradient is that of the losses times ``scale``.
        """
        factors = {} if self._used is self._before else _factors(self._before, self._used)
        found = {}
        for name, used in self._used.items():
            slope = self.optimizer.slope(
                self._places[name],
                self._at,
                self._numbers,
                used,
                self.parameters[name],
                self._fresh[self._places[name]],
            )
            found[name] = slope * (gradient[name] * factors[name] if factors else gradient[name]) * scale
        return found


def _factors(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The factor that clipping gave to each coordinate [m, ...]; where a gradient is 0, the largest of the others."""
    largest = {name: (after[name] / of).where(of != 0, -torch.inf).flatten(1).amax(1) for name, of in before.items()}
    common = torch.stack(list(largest.values())).amax(0)
    found = {}
    for name, of in before.items():
        otherwise = torch.where(largest[name].isfinite(), largest[name], common).view(-1, *[1] * (of.dim() - 1))
        found[name] = torch.where(of != 0, after[name] / of, torch.where(otherwise.isfinite(), otherwise, 1.0))
    return found
