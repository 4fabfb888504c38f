"""The Frechet distance of two sets of features."""

from __future__ import annotations

import torch
from torch import Tensor


def frechet_distance(one: Tensor, other: Tensor) -> float:
    """``||m1 - m2||^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))`` of features [N, F] and [M, F], as if they were normal.

    Heusel et al., NeurIPS 2017, arXiv:1706.08500, there in the features of an Inception network. It is
    biased upwards for few samples: compare it only with sets of the same sizes. In float64; the root's
    trace comes from the eigenvalues of ``C1^(1/2) C2 C1^(1/2)``, which is symmetric.
    """
    return frechet_of_moments(moments(one), moments(other))


def moments(features: Tensor) -> Tensor:
    """The sums of ``(1, x)`` times ``(1, x)`` over features x [N, F]: [F + 1, F + 1], float64.

    Such sums can be added over the parts of a set.
    """
    features = features.double()
    known = torch.cat([torch.ones_like(features[:, :1]), features], 1)
    return known.mT @ known


def frechet_of_moments(one: Tensor, other: Tensor) -> float:
    """The distance of two sets of features from their :func:`moments`."""
    (mean, first), (other_mean, second) = (_mean_and_covariance(sums.double()) for sums in (one, other))
    apart = (mean - other_mean).square().sum()
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    return float(apart + first.trace() + second.trace() - 2 * cross)


def _mean_and_covariance(sums: Tensor) -> tuple[Tensor, Tensor]:
    count, total = sums[0, 0], sums[0, 1:]
    mean = total / count
    return mean, (sums[1:, 1:] - torch.outer(total, mean)) / (count - 1).clamp(min=1)
