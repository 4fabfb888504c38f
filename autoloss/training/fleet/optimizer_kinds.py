"""Which form the optimisers of members have in a fleet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.optim import LBFGS, SGD, Adam, AdamW, Optimizer

from autoloss.training.fleet.optimizers import StackedAdam, StackedAdamW, StackedOptimizer, StackedSGD
from autoloss.training.fleet.own_optimizers import OwnOptimizers
from autoloss.training.fleet.stacked import UnlikeError

STACKED: Mapping[type[Optimizer], type[StackedOptimizer]] = {SGD: StackedSGD, Adam: StackedAdam, AdamW: StackedAdamW}
OTHERS = ("amsgrad", "maximize", "differentiable")  # options that the stacked forms have not


def kind_of(optimizer: Optimizer) -> type[StackedOptimizer]:
    """The form for ``optimizer``; raises :class:`UnlikeError` where there is none."""
    if isinstance(optimizer, LBFGS):
        raise UnlikeError(
            "An optimiser of a fleet must make one step for each batch, but LBFGS evaluates it several times. It is "
            "trained alone."
        )
    groups = optimizer.param_groups
    if len(groups) > 1 or any(groups[0].get(name) for name in OTHERS):
        return OwnOptimizers
    return STACKED.get(type(optimizer), OwnOptimizers)


def signature(optimizer: Optimizer) -> tuple[Any, ...]:
    """What must be the same for members of one fleet."""
    kind = kind_of(optimizer)
    return (kind, type(optimizer), *(bool(optimizer.param_groups[0].get(name)) for name in kind.settings))
