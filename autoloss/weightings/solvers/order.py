"""Random orders in which each gradient meets the others."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.tensors.draws import shared_generator


def random_order(size: int, index: Tensor, seed: int, step: int) -> Tensor:
    """For each of the M losses ``index`` (out of ``size``), the other M - 1 in random order, [M, M - 1].

    The numbers are positions in ``index``. Which losses take part does not change the order of the rest.
    """
    scores = torch.rand(size, size, generator=shared_generator(seed, step)).fill_diagonal_(2.0)
    return scores[index][:, index].argsort(1)[:, :-1]
