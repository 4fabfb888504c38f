"""A rule that combines the gradients themselves, which no K weights can express."""

from __future__ import annotations

from abc import abstractmethod

from torch import Tensor

from autoloss.core.signals import Signals
from autoloss.core.weighting import Weighting


class Surgery(Weighting):
    """Turns the losses' gradients at the shared features into one: write :meth:`combine`.

    It works in a fork, where those gradients meet: each loss is computed from its own copy of the
    features. The heads, which come after the copies, get the gradient of their loss with its base
    weight alone. As a weighting, a surgery gives ones, and the record holds these ones.
    """

    @abstractmethod
    def combine(self, gradients: Tensor, signals: Signals) -> Tensor:
        """The gradient [...] that the features get, from the losses' gradients [K, ...].

        ``gradients`` include the base weights and not the loss scale. They are float32 (float64 if
        the features are); the gradients of absent and of unbalanced losses are 0. Called
        once for each backward, outside autocast, without a graph. It reads state and never writes it.
        """

    def forward(self, signals: Signals) -> Tensor:
        return signals.values.new_ones(len(signals.names))
