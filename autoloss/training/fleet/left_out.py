"""A step of the optimiser that some members do not make, because their batches are left out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from autoloss.training.fleet.optimizers import StackedOptimizer


@contextmanager
def unchanged(optimizer: StackedOptimizer, members: Sequence[int]) -> Iterator[None]:
    """The step of ``optimizer`` within it leaves the parameters and the state of ``members`` as they are."""
    at = list(members)
    before = [{name: of[at] for name, of in held.items()} for held in _changing(optimizer)] if at else []
    yield
    for m in at:
        optimizer.missed[m] += 1
    with torch.no_grad():
        for held, own in zip(_changing(optimizer), before, strict=True) if at else ():
            for name, tensor in held.items():
                # State that the step made was there for nobody before.
                tensor[at] = own[name] if name in own else torch.zeros_like(tensor[at])


def _changing(optimizer: StackedOptimizer) -> list[dict[str, Tensor]]:
    """What a step changes of each parameter: itself, and its state."""
    pairs = zip(optimizer.parameters, optimizer.state, strict=True)
    return [{"": p.detach(), **{name: of for name, of in state.items() if name != "step"}} for p, state in pairs]
