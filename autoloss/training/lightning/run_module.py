"""The base class of Lightning modules that ``autoloss train`` can train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils.data import Dataset, Sampler

from autoloss.core.problem import Problem
from autoloss.training.lightning.shared.length import KnowsLength
from autoloss.training.lightning.shared.metrics import LogsMeans
from autoloss.training.lightning.shared.plateaus import FollowsPlateaus
from autoloss.training.lightning.shared.quick_hooks import QuickHooks
from autoloss.training.lightning.shared.rng import KeepsRandomState
from autoloss.training.lightning.shared.term_losses import TermLosses
from autoloss.training.step.player import Player


class RunModule(QuickHooks, KnowsLength, FollowsPlateaus, KeepsRandomState, LogsMeans, TermLosses):
    """The base class of modules that ``autoloss train`` can train.

    A subclass has a ``problem``, its ``network`` (without one no model is saved) and a ``player``, whose weights the
    summary shows as the run's. It also has all its ``players``, a ``clock``, Lightning's steps, and the metrics
    ``val/<name>`` and ``test/<name>``. ``autoloss train`` adds the record, checkpoints with the state of the random
    generators, schedules, plateaus and the report. ``forked`` is true if gradients meet in a fork; then heads get base
    weights only.
    """

    problem: Problem
    player: Player
    forked: bool = False

    @property
    def evaluated(self) -> nn.Module | None:
        """The network that predicts: ``network``, or what a module keeps beside it (a moving average)."""
        network = getattr(self, "network", None)
        return network if isinstance(network, nn.Module) else None

    @property
    def players(self) -> Mapping[str, Player]:
        """The players by name; a single player has the empty name."""
        raise NotImplementedError

    def order(self, dataset: Dataset[Any], seed: int) -> Sampler[int] | None:
        """The sampler of the training data; ``None`` for a new permutation in each epoch."""
        return None
