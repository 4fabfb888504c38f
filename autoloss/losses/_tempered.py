"""Powers, and the logarithm and the exponential with an exponent s that are the usual ones where s is 0.

Everything here may be a tensor with a gradient, the exponent too.
"""

from __future__ import annotations

import torch
from torch import Tensor

NEAR = 0.02  # below it a series is exact to float64, and the closed forms lose digits in their derivatives


def tempered_log(logarithm: Tensor, s: float | Tensor) -> Tensor:
    """``(x^s - 1) / s`` of ``logarithm = log x``; log x for s = 0.

    >>> tempered_log(torch.tensor([4.0]).log(), 0.5), tempered_log(torch.tensor([4.0]).log(), 0.0)
    (tensor([2.]), tensor([1.3863]))
    """
    z = s * logarithm
    near = z.abs() < NEAR
    far = z.where(~near, 1.0)
    small = z.where(near, 0.0)
    series = torch.ones_like(z)
    for n in range(8, 1, -1):
        series = 1 + small / n * series
    return logarithm * torch.where(near, series, far.expm1() / far)


def log_tempered_exp(u: Tensor, s: float | Tensor) -> Tensor:
    """``log(1 + s u) / s``, the logarithm of the inverse of :func:`tempered_log`; u for s = 0.

    >>> log_tempered_exp(torch.tensor([2.0]), 0.5).exp()
    tensor([4.])
    """
    z = s * u
    near = z.abs() < NEAR
    far = z.where(~near, 1.0)
    small = z.where(near, 0.0)
    series = torch.zeros_like(z)
    for n in range(10, 0, -1):
        series = 1 / n - small * series
    return u * torch.where(near, series, far.log1p() / far)


def powered(x: Tensor, exponent: float | Tensor) -> Tensor:
    """``x^exponent`` for x of at least 0, which counts as 1e-12 below that: the slope of 0^0.5 is infinite.

    The exponent's derivatives are those of the formula where it is 0 too; torch's second derivative is 0 there.
    """
    x = x.clamp(min=1e-12)
    return (exponent * x.log()).exp() if isinstance(exponent, Tensor) else x**exponent
