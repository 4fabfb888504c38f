"""Forward derivatives of softmax and its relatives that a backward can follow.

Those of torch (2.13) change in place what a backward needs, where the logits themselves have a graph: with an offset
that is learned, for example.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional


def log_softmax(x: Tensor, dim: int, *_: Any, **named: Any) -> Tensor:
    """The logarithm of softmax, with a derivative along that of ``x``."""
    primal, along = forward_ad.unpack_dual(x)
    y = torch.log_softmax(primal, dim, dtype=named.get("dtype"))
    assert along is not None
    return forward_ad.make_dual(y, along - (y.exp() * along).sum(dim, keepdim=True))


def _softmax(x: Tensor, dim: int, *_: Any, **named: Any) -> Tensor:
    return log_softmax(x, dim, **named).exp()


def _logsumexp(x: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    primal, along = forward_ad.unpack_dual(x)
    assert along is not None
    y = torch.logsumexp(primal, dim, keepdim=True)
    found = forward_ad.make_dual(y, ((primal - y).exp() * along).sum(dim, keepdim=True))
    return found if keepdim else found.squeeze(dim)


def _cross_entropy(x: Tensor, target: Tensor, weight: Tensor | None = None, **named: Any) -> Tensor | None:
    if target.is_floating_point() or x.dim() < 2 or named.get("label_smoothing"):
        return None
    named = {key: value for key, value in named.items() if key in ("ignore_index", "reduction")}
    return functional.nll_loss(log_softmax(x, 1), target, weight, **named)


REPLACED: dict[Any, Callable[..., Tensor | None]] = {
    torch.log_softmax: log_softmax,
    functional.log_softmax: log_softmax,
    Tensor.log_softmax: log_softmax,
    torch.softmax: _softmax,
    functional.softmax: _softmax,
    Tensor.softmax: _softmax,
    torch.logsumexp: _logsumexp,
    Tensor.logsumexp: _logsumexp,
    functional.cross_entropy: _cross_entropy,
}


def with_graph(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor | None:
    """``func(*args, **kwargs)`` for a function of :data:`REPLACED`; ``None`` where torch's own derivative will do."""
    x = args[0] if args else None
    if not isinstance(x, Tensor) or not x.requires_grad or forward_ad.unpack_dual(x).tangent is None:
        return None
    return REPLACED[func](*args, **kwargs)
