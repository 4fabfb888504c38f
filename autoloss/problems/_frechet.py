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
    one, other = one.double(), other.double()
    first, second = one.T.cov(), other.T.cov()
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    apart = (one.mean(0) - other.mean(0)).square().sum()
    return float(apart + first.trace() + second.trace() - 2 * cross)
