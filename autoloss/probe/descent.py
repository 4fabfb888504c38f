"""The gradient of the held-out objective, the same on every rank."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoloss.core.errors import SignalError
from autoloss.core.tensors.ranks import sum_over_ranks, world_size


def gradient_of(objective: Callable[[], Tensor], network: nn.Module) -> dict[Tensor, Tensor]:
    """The gradient of ``objective()`` with respect to each parameter of ``network``.

    It is 0 for a parameter that the objective does not depend on, and it is averaged over ranks, which may have
    different samples. Nothing is accumulated into ``.grad``, and no hook of DDP fires. Raises :class:`SignalError`
    if the objective has no graph.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    value = objective()
    if not value.requires_grad:
        raise SignalError(
            "The held-out objective must depend on the network's parameters, but it has no graph. "
            "Compute it from the network that is passed in, not detached and not under no_grad."
        )
    # A backward under autocast would cast what the forward did not.
    with torch.autocast(value.device.type, enabled=False):
        found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    return mean_over_ranks(dict(zip(parameters, found, strict=True)))


def mean_over_ranks(gradient: dict[Tensor, Tensor]) -> dict[Tensor, Tensor]:
    """``gradient``, a tensor for each parameter, averaged over all ranks."""
    ranks = world_size()
    if ranks == 1:
        return gradient
    flat = sum_over_ranks(torch.cat([value.reshape(-1) for value in gradient.values()])) / ranks
    parts = flat.split([value.numel() for value in gradient.values()])
    return {parameter: part.view_as(parameter) for part, parameter in zip(parts, gradient, strict=True)}
