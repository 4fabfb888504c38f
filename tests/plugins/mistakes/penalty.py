"""The mistakes of the page on penalties, in the order of its rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from autoloss import Penalty
from autoloss.core.penalty import at_least_float32
from autoloss.training.step.penalties import Penalties
from tests.plugins.mistakes.making import asked, suite


def penalty_of(function: Callable[[list[Tensor]], Tensor]) -> Callable[[], Penalty]:
    class Given(Penalty):
        def forward(self, parameters: Any) -> Tensor:
            return function(parameters)

    return Given


def norms(parameters: Any) -> Tensor:
    return torch.stack([p.square().sum() for p in at_least_float32(parameters)])


def writes(parameters: Any) -> Tensor:
    if not any(p.requires_grad for p in parameters):
        parameters[0].clamp_(max=0.1)
    return norms(parameters).sum()


def network() -> nn.Module:
    return nn.ModuleDict({"trunk": nn.Linear(4, 3), "norm": nn.LayerNorm(3)})


MISTAKES: list[Callable[[], object]] = [
    suite("penalty", "gives_one_number_of_at_least_0", penalty_of(lambda given: -norms(given).sum())),
    suite("penalty", "gives_one_number_of_at_least_0", penalty_of(norms)),
    suite(
        "penalty",
        "is_finite_with_its_gradient_for_small_and_large_parameters",
        penalty_of(lambda given: norms(given).sum().sqrt()),
    ),
    suite(
        "penalty",
        "computes_in_single_precision_at_least",
        penalty_of(lambda given: sum((p.square().sum() for p in given[1:]), start=given[0].square().sum())),
    ),
    suite("penalty", "leaves_the_parameters_alone", penalty_of(writes)),
    asked("problem=my_two_curves", "penalties.my_group_laso=1"),
    lambda: Penalties({"my_group_lasso": {"on": "trunc"}}).bind(network()),
    lambda: Penalties({"my_group_lasso": {"on": "norm"}}).bind(network()),
    asked("problem=my_two_curves", "penalties.sine.name=my_group_lasso"),
    asked("problem=my_ring", "penalties.my_group_lasso=1"),
]
