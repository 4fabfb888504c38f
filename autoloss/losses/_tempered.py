"""Powers, and the logarithm and the exponential with an exponent s that are the usual ones where s is 0.

Everything here may be a tensor with a gradient, the exponent too: its derivatives exist where it is 0.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

NEAR = 0.02  # below it a series is exact to float64, and the closed forms lose digits in the exponent's derivatives


def tempered_log(logarithm: Tensor, s: float | Tensor) -> Tensor:
    """``(x^s - 1) / s`` of ``logarithm = log x``; log x for s = 0.

    >>> tempered_log(torch.tensor([4.0]).log(), 0.5), tempered_log(torch.tensor([4.0]).log(), 0.0)
    (tensor([2.]), tensor([1.3863]))
    """
    return _over(torch.expm1, _expm1_over, logarithm, s)


def log_tempered_exp(u: Tensor, s: float | Tensor) -> Tensor:
    """``log(1 + s u) / s``, the logarithm of the inverse of :func:`tempered_log`; u for s = 0.

    >>> log_tempered_exp(torch.tensor([2.0]), 0.5).exp()
    tensor([4.])
    """
    return _over(torch.log1p, _log1p_over, u, s)


def powered(x: Tensor, exponent: float | Tensor) -> Tensor:
    """``x^exponent`` for x of at least 0, which counts as 1e-12 below that: the slope of 0^0.5 is infinite.

    The exponent's derivatives are those of the formula where it is 0 too; torch's second derivative is 0 there.
    """
    x = x.clamp(min=1e-12)
    return (exponent * x.log()).exp() if isinstance(exponent, Tensor) else x**exponent


def _over(
    function: Callable[[Tensor], Tensor], series: Callable[[Tensor], Tensor], u: Tensor, s: float | Tensor
) -> Tensor:
    """``function(s u) / s``, and u for s = 0; ``series`` is ``function(z) / z`` near 0."""
    if not isinstance(s, Tensor):
        return function(s * u) / s if s else u
    z = s * u
    near = z.abs() < NEAR
    far = z.where(~near, 1.0)
    return u * torch.where(near, series(z.where(near, 0.0)), function(far) / far)


def _expm1_over(z: Tensor) -> Tensor:
    value = torch.ones_like(z)
    for n in range(8, 1, -1):
        value = 1 + z / n * value
    return value


def _log1p_over(z: Tensor) -> Tensor:
    value = torch.zeros_like(z)
    for n in range(10, 0, -1):
        value = 1 / n - z * value
    return value
