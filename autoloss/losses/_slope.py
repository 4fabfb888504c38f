"""The gradient of a discriminator with respect to its input."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.errors import ConfigError
from autoloss.losses._shapes import at_least_float32


def squared_slope(logits: Tensor, inputs: Tensor) -> Tensor:
    """``||d D / d input||^2`` of each sample, [B], in float32 or better, with a graph for the parameters.

    A map of logits [B, ...] counts as its sum. The gradient is that of the sum over samples; it is each
    sample's own gradient where no sample changes the logit of another.
    """
    if not inputs.requires_grad or not logits.requires_grad:
        raise ConfigError(
            "A penalty on the input gradient needs logits that were computed from inputs that require gradients, but "
            "these were not. Write x = penalty.inputs(real, fake); penalty(discriminator(x), x)."
        )
    # A backward inside an autocast region would cast what the forward did not.
    with torch.autocast(inputs.device.type, enabled=False):
        (slope,) = torch.autograd.grad(at_least_float32(logits).sum(), inputs, create_graph=True, allow_unused=True)
        if slope is None:
            raise ConfigError(
                "A penalty on the input gradient needs logits that were computed from the given inputs, but these do "
                "not depend on them. Write x = penalty.inputs(real, fake); penalty(discriminator(x), x)."
            )
        return at_least_float32(slope).flatten(1).square().sum(1)
