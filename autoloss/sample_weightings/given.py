"""Weights that come with the data."""

from __future__ import annotations

from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.samples import Samples


class Given(SampleWeighting):
    """Weighs each sample with a column of the data: ``w_i = keys[key]_i``.

    The problem gives it: ``Outputs(..., keys={"weight": batch["weight"]})``; a loop of your own calls
    ``balancer(losses, keys={"weight": w})``. On a CPU, weights that are negative or not finite are an error.

    Args:
        key: the name of the column, [B], each at least 0.
    """

    use = "Sampling weights, costs of mistakes, trust in a source: what is known before training."
    avoid = "Weights are guessed: compare with uniform ones, and with a rule that learns them."
    citation = "folklore (importance weighting)"

    def __init__(self, key: str = "weight") -> None:
        super().__init__()
        require(bool(key), "`key` must name a column of the data", f"key={key!r}")
        self.column = key

    def forward(self, samples: Samples) -> Tensor:
        weights = samples.key(self.column).float()
        if weights.device.type == "cpu" and not bool(((weights >= 0) & weights.isfinite()).all()):
            raise ConfigError(
                f"A sample's weight must be finite and not negative, but {self.column!r} has others. Clean the data."
            )
        return weights
