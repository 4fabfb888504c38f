"""The base class of Lightning modules that ``autoloss train`` can train."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import nn
from torch.utils.data import Dataset, IterableDataset, Sampler

from autoloss.core.datasets import collated
from autoloss.core.problem import Pictures, Problem
from autoloss.probe.lookahead import Moment, evaluating
from autoloss.training.lightning.shared.length import KnowsLength
from autoloss.training.lightning.shared.metrics import LogsMeans
from autoloss.training.lightning.shared.plateaus import FollowsPlateaus
from autoloss.training.lightning.shared.quick_hooks import QuickHooks
from autoloss.training.lightning.shared.rng import KeepsRandomState
from autoloss.training.lightning.shared.term_losses import TermLosses
from autoloss.training.step.player import Player

SHARDING = (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)
PICTURED = 8  # samples that a problem is given for its pictures


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
    def players(self) -> Mapping[str, Player]:
        """The players by name; a single player has the empty name."""
        raise NotImplementedError

    @property
    def evaluated(self) -> nn.Module:
        """The network that validation and test measure."""
        raise NotImplementedError

    def gallery(self) -> Pictures | None:
        """The problem's pictures of the first validation samples; ``None`` if it has none, or if they are a stream.

        The random numbers of training stay what they are. One rank alone cannot call a network of which it has a
        shard, so there are none then.
        """
        if type(self.problem).pictures is Problem.pictures or isinstance(self.trainer.strategy, SHARDING):
            return None
        loaders = self.trainer.val_dataloaders
        dataset = (loaders[0] if isinstance(loaders, (list, tuple)) else loaders).dataset
        if isinstance(dataset, IterableDataset):
            return None
        moment, precision = Moment.now(self.device), self.trainer.precision_plugin
        try:
            with torch.no_grad(), precision.forward_context(), evaluating(self.evaluated):
                batch = precision.convert_input(collated(dataset, range(min(PICTURED, len(dataset)))))
                return self.problem.pictures(self.evaluated, self.transfer_batch_to_device(batch, self.device, 0))
        finally:
            moment.restore()

    def see_metrics(self, metrics: Mapping[str, Any]) -> None:
        """Give the metrics of a validation to what learns from them: plateaus, and the bounds of metrics."""
        super().see_metrics(metrics)
        for player in self.players.values():
            player.see_metrics(metrics)

    def order(self, dataset: Dataset[Any], seed: int) -> Sampler[int] | None:
        """The sampler of the training data; ``None`` for a new permutation in each epoch."""
        return None
