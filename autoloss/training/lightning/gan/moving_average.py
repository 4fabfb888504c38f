"""A moving average of a network, for evaluation."""

from __future__ import annotations

from copy import deepcopy

from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from autoloss.core.errors import require


class MovingAverage(nn.Module):
    """A copy of ``network`` that averages its parameters p: ``a <- d a + (1 - d) p`` after each step.

    At step t, ``d = min(decay, (1 + t) / (10 + t))``, so that the average soon forgets the initial random
    parameters. Buffers are copied. (``torch.optim.swa_utils.AveragedModel`` waits for the device at each step.)
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__()
        check_decay(decay)
        self.decay = decay
        self.network = deepcopy(network).requires_grad_(False)

    def follow(self, network: nn.Module, step: int) -> None:
        """Update the average with ``network`` after step ``step``; the first step is 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, its = list(self.network.parameters()), [p.detach() for p in network.parameters()]
        get_ema_multi_avg_fn(decay)(mine, its, 0)
        for buffer, current in zip(self.network.buffers(), network.buffers(), strict=True):
            buffer.copy_(current)


def check_decay(decay: float | None) -> None:
    """Raise :class:`ConfigError` unless ``decay`` lies in [0, 1) or is ``None``."""
    require(decay is None or 0 <= decay < 1, "generator.average must lie in [0, 1) or be null", f"it is {decay}")
