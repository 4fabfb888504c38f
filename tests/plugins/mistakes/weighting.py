"""The mistakes of the page on weightings, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from autoloss import Need, Weighting
from autoloss.training.step.build import build_weighting
from tests.plugins.mistakes.making import X, balanced, suite


class Given(Weighting):
    """Weights of ones, and whatever else a test gives it."""

    def forward(self, signals: Any) -> Tensor:
        return torch.ones_like(signals.values)


class Steep(Given):
    """Reads what it does not ask for."""

    def forward(self, signals: Any) -> Tensor:
        return signals.gram.diagonal()


class Ahead(Given):
    """Reads in forward what is known to update alone."""

    needs = Need.VALUES | Need.LOOKAHEAD

    def forward(self, signals: Any) -> Tensor:
        return signals.after


class Logarithms(Given):
    """Needs positive losses."""

    positive = True


class WithParameter(Given):
    """Keeps its state where an optimiser takes it."""

    def allocate(self, size: int) -> None:
        self.norm = nn.Parameter(torch.ones(size))


class WithAttribute(Given):
    """Keeps its state where no checkpoint finds it."""

    def allocate(self, size: int) -> None:
        self.mean = torch.ones(size)

    def forward(self, signals: Any) -> Tensor:
        return self.mean

    def update(self, signals: Any) -> None:
        self.mean = 0.5 * (self.mean + signals.values)


class WithoutAxes(Given):
    """Does not say that its state's rows are losses."""

    def allocate(self, size: int) -> None:
        self.add_state("norm", torch.ones(size))

    def update(self, signals: Any) -> None:
        self.norm.copy_(0.5 * (self.norm + signals.values))


class Writing(WithoutAxes):
    """Learns in forward."""

    def forward(self, signals: Any) -> Tensor:
        self.update(signals)
        return torch.ones_like(signals.values)


class OfAll(Given):
    """Takes the mean over losses that are not there, too."""

    def forward(self, signals: Any) -> Tensor:
        return signals.values / signals.values.mean()


class Looking(Given):
    """Waits for the device."""

    def forward(self, signals: Any) -> Tensor:
        return torch.full_like(signals.values, signals.values[0].item())


class Claiming(Given):
    """Claims what it does not do."""

    claims = frozenset({"sums_to_count"})

    def forward(self, signals: Any) -> Tensor:
        return 2 * torch.ones_like(signals.values)


MISTAKES: list[Callable[[], object]] = [
    lambda: balanced(Steep()),
    suite("weighting", "needs_are_enough", Ahead),
    lambda: balanced("my_unit_norm"),
    lambda: balanced("my_unit_norm", anchor=X),
    lambda: balanced(Logarithms(), {"a": torch.tensor(-1.0, requires_grad=True)}),
    suite("weighting", "has_no_parameters", WithParameter),
    suite("weighting", "state_survives_a_checkpoint", WithAttribute),
    suite("weighting", "forward_writes_nothing", Writing),
    suite("weighting", "an_absent_loss_learns_nothing", WithoutAxes),
    suite("weighting", "an_absent_loss_says_nothing", OfAll),
    suite("weighting", "waits_for_no_device", Looking),
    suite("weighting", "claim_sums_to_count", Claiming),
    lambda: build_weighting({"name": "my_unit_norm", "deacy": 0.5}),
]
