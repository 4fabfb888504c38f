"""A moving level of the losses, such as the quantile below which a share of the samples lies."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from autoloss.core.errors import require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples


class Levelled(SampleWeighting):
    """Keeps the moving average over steps of a statistic of the batch's losses; subclasses write :meth:`now`."""

    average: Tensor
    seen: Tensor

    def __init__(self, decay: float) -> None:
        super().__init__()
        require(0 <= decay < 1, "`decay` must lie in [0, 1)", f"decay={decay}")
        self.decay = decay

    def allocate(self, size: int) -> None:
        self.add_state("average", torch.zeros(()))
        self.add_state("seen", torch.zeros(()))

    @abstractmethod
    def now(self, samples: Samples) -> Tensor:
        """The statistic of this batch, a scalar tensor."""

    def level(self, samples: Samples) -> Tensor:
        """The moving average with this batch in it, a scalar tensor; unchanged if the batch has no sample."""
        return self.remember(samples, self._moved)

    def update(self, samples: Samples) -> None:
        self.average.copy_(self.recall(samples, self._moved))
        self.seen.add_(samples.present.any())

    def _moved(self, samples: Samples) -> Tensor:
        now = self.now(samples)
        moved = torch.where(self.seen > 0, self.average.lerp(now, 1 - self.decay), now)
        return torch.where(samples.present.any(), moved, self.average)
