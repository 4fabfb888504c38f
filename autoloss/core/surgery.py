"""What no K weights can express: a rule that combines the gradients themselves."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Surgery(Weighting):
    """Turns the losses' gradients at the shared features into one: write :meth:`combine`.

    It works where those gradients meet, in a fork: each loss is computed from its own copy of the
    features. What lies above the copies, the heads, gets the gradient of its loss with its base
    weight alone. As a weighting a surgery gives ones, and those are what is recorded.
    """

    @abstractmethod
    def combine(self, gradients: Tensor, signals: Signals) -> Tensor:
        """The gradient [...] that the features get, from those of the losses, [K, ...].

        ``gradients`` have the base weights and not the loss scale in them, in float32 (float64 where
        the features are); those of losses that are absent, or keep their base weight, are 0. Called
        once for each backward, outside autocast, without a graph. It reads state and never writes it.
        """

    def forward(self, signals: Signals) -> Tensor:
        return signals.values.new_ones(len(signals.names))
