"""Derivatives of functions of few numbers, also within ``vmap``, where a tensor cannot be made a leaf of a graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The gradient of the scalar ``function`` where its argument is ``at``, without a graph."""
    leaf = _leaf(at)
    if leaf is None:
        found: Tensor = torch.func.grad(function)(at)
        return found
    with torch.enable_grad():
        (slopes,) = torch.autograd.grad(function(leaf), leaf)
    return slopes


def jacobian(function: Callable[[Tensor], Tensor], at: Tensor) -> tuple[Tensor, Tensor]:
    """The value [K] of ``function`` where its argument is ``at`` [P], and its derivatives [K, P], without a graph."""
    leaf = _leaf(at)
    if leaf is None:
        value, back = torch.func.vjp(function, at)  # type: ignore[misc]  # a pair without has_aux
        rows: Tensor = torch.func.vmap(lambda one: back(one)[0])(_unit(value))
        return value, rows
    with torch.enable_grad():
        value = function(leaf)
        (rows,) = torch.autograd.grad(value, leaf, _unit(value), is_grads_batched=True)
    return value.detach(), rows


def _leaf(at: Tensor) -> Tensor | None:
    """A leaf of a new graph with the values of ``at``; ``None`` within ``vmap``.

    There torch.func differentiates. It takes four times as long for the few numbers of a weighting, so that it is not
    used elsewhere.
    """
    try:
        return at.detach().requires_grad_()
    except RuntimeError:
        return None


def _unit(value: Tensor) -> Tensor:
    return torch.eye(len(value), dtype=value.dtype, device=value.device)
