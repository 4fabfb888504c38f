"""Rules that keep numbers for each point of a differential equation, found by its index."""

from __future__ import annotations

import torch
from torch import Tensor

from autoloss.core.need import SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples

SQUARABLE = 1e18  # larger losses count as this: their squares would not be finite


class PointWeighting(SampleWeighting):
    """Keeps numbers for each point; the points must be the same ones throughout training.

    The losses are squares of residuals (``mse`` of one number for each point).
    """

    needs = SampleNeed.LOSSES | SampleNeed.INDEX

    def write(self, state: Tensor, samples: Samples, values: Tensor) -> None:
        """Set ``state`` [N] to ``values`` [B] at the present points.

        A point that the batch holds twice has one residual and one value.
        """
        rows = samples.index
        state[rows] = torch.where(samples.present, values, state[rows])


def residuals(samples: Samples) -> Tensor:
    """The sizes of the residuals, [B]: the square roots of the losses; 0 where a loss is below 0, or masked."""
    return samples.losses.where(samples.present, 0.0).clamp(min=0).sqrt()


def relative(values: Tensor) -> Tensor:
    """``values`` [B], at least 0, over their largest; all 0 if that is 0."""
    if not len(values):
        return values
    return values / values.amax().clamp(min=torch.finfo(values.dtype).tiny)
