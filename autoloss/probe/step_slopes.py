"""The derivative of the step of further optimisers, coordinate by coordinate, with respect to the gradient.

Each function gets the options of a group, a parameter's state after the step, and the gradient that the step used, L2
decay included. It gives h' of the step ``p' = p - lr h(g)``. The state before the step counts as a constant.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

Options = Mapping[str, Any]


def rmsprop_slope(options: Options, state: Mapping[str, Any], gradient: Tensor) -> Tensor:
    """h' of RMSprop, also centered; momentum adds the new term to a buffer as it is."""
    new, root = 1 - options["alpha"], state["square_avg"]
    moved = gradient
    if options["centered"]:
        root = root - state["grad_avg"] ** 2
        moved = gradient - state["grad_avg"]
    root = root.clamp(min=0).sqrt()
    return _of_ratio(1.0, gradient, root, options["eps"], new * moved)


def adagrad_slope(options: Options, state: Mapping[str, Any], gradient: Tensor) -> Tensor:
    """h' of Adagrad."""
    late = 1 + (state["step"].to(gradient.device) - 1) * options["lr_decay"]
    return _of_ratio(1.0, gradient, state["sum"].sqrt(), options["eps"], gradient) / late


def nadam_slope(options: Options, state: Mapping[str, Any], gradient: Tensor) -> Tensor:
    """h' of NAdam, which steps along the gradient and the momentum that it will have."""
    first, second = options["betas"]
    # As in torch, on the host and in float64.
    step = state["step"].double()
    correction = (1 - second**step).to(gradient.device)
    now, following = (first * (1 - 0.5 * 0.96 ** (at * options["momentum_decay"])) for at in (step, step + 1))
    product = state["mu_product"].double()
    of_gradient = ((1 - now) / (1 - product)).to(gradient.device)
    of_momentum = (following / (1 - product * following)).to(gradient.device)
    top = of_gradient * gradient + of_momentum * state["exp_avg"]
    root = (state["exp_avg_sq"] / correction).sqrt()
    slope = _of_ratio(
        of_gradient + of_momentum * (1 - first), top, root, options["eps"], (1 - second) * gradient / correction
    )
    return slope.to(gradient.dtype)


def _of_ratio(rise: Tensor | float, top: Tensor, root: Tensor, eps: float, half: Tensor) -> Tensor:
    """The derivative of ``top / (root + eps)``: ``top`` rises by ``rise``, and ``root^2`` by ``2 half``."""
    size = root + eps
    bend = torch.where(root > 0, top * half / (root * size**2), torch.zeros_like(top))
    return rise / size - bend
