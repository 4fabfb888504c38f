"""What every Lightning module of a run has: players that weigh its losses, and where training stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset, Sampler

from autoloss.core.problem import Problem
from autoloss.training.lightning.shared.length import KnowsLength
from autoloss.training.lightning.shared.metrics import LogsMeans
from autoloss.training.lightning.shared.plateaus import FollowsPlateaus
from autoloss.training.lightning.shared.rng import KeepsRandomState
from autoloss.training.lightning.shared.term_losses import TermLosses
from autoloss.training.step.player import Player


class RunModule(KnowsLength, FollowsPlateaus, KeepsRandomState, LogsMeans, TermLosses):
    """The base of modules that ``autoloss train`` can train: what a run asks of its module.

    A subclass has a ``problem`` and a ``player``, whose weights are the run's. It gives all its ``players``, its
    ``clock``, Lightning's steps, and the metrics ``val/<name>`` and ``test/<name>``. The run gives it what every run
    has: the record, checkpoints with the random generators' state, schedules, plateaus and the report. ``forked`` says
    that gradients meet in a fork, so that heads are not weighted.
    """

    problem: Problem
    player: Player
    forked: bool = False

    @property
    def players(self) -> Mapping[str, Player]:
        """What weighs losses here, by name; a single player has the empty name."""
        raise NotImplementedError

    def order(self, dataset: Dataset[Any], seed: int) -> Sampler[int] | None:
        """The sampler of the training data; ``None`` for a new permutation in each epoch."""
        return None
