"""The gradient of the held-out objective, the same on every rank."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from autoloss.core.errors import SignalError
from autoloss.core.ranks import sum_over_ranks, world_size


def gradient_of(objective: Callable[[], Tensor], network: nn.Module) -> dict[Tensor, Tensor]:
    """The gradient of ``objective()`` by parameter of ``network``, 0 where it does not depend on one.

    The mean over ranks, whose objectives may be of different samples. Nothing is accumulated into
    ``.grad``, and no hook of DDP fires.
    """
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    value = objective()
    if not value.requires_grad:
        raise SignalError(
            "The held-out objective must depend on the network's parameters, but it has no graph. "
            "Compute it from the network that is passed in, not detached and not under no_grad."
        )
    found = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
    if (ranks := world_size()) > 1:
        flat = sum_over_ranks(torch.cat([gradient.reshape(-1) for gradient in found])) / ranks
        parts = flat.split([parameter.numel() for parameter in parameters])
        found = tuple(part.view_as(parameter) for part, parameter in zip(parts, parameters, strict=True))
    return dict(zip(parameters, found, strict=True))
