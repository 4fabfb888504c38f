"""How much better than equal weights a weighting is, on many problems."""

from __future__ import annotations

from torch import Tensor

MOST = 1.0  # of one metric: where equal weights hardly train, the rest counts too
PRICE_OF_PROBLEMS, PRICE_OF_METRICS = 1.0, 1.0  # of what gets worse, besides what the mean loses by it


def gains(metrics: Tensor, baseline: Tensor) -> Tensor:
    """The gain in each metric [..., metrics]: ``log(metric of equal weights / metric)``, the mean over starts.

    ``metrics`` and ``baseline`` [..., starts, metrics] are above 0, and smaller is better.

    >>> import torch
    >>> gains(torch.tensor([[0.5, 1.0]]), torch.tensor([[1.0, 1.0]]))
    tensor([0.6931, 0.0000])
    """
    return (baseline.log() - metrics.log()).mean(-2)


def worth(found: Tensor) -> Tensor:
    """What a rule is worth on each problem [...], from its gains [..., metrics].

    It is their mean, less a price where that is below 0, and less a price for each metric that got worse: a rule that
    buys one metric with another is not safe to switch on.

    >>> import torch
    >>> worth(torch.tensor([[0.3, 0.1], [0.3, -0.3]]))
    tensor([ 0.2000, -0.1500])
    """
    found = found.clamp(max=MOST)
    mean = found.mean(-1)
    return mean - PRICE_OF_PROBLEMS * (-mean).clamp(min=0) - PRICE_OF_METRICS * (-found).clamp(min=0).mean(-1)
