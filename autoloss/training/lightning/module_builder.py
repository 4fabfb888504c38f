"""The base class of the kind ``module``: a builder makes the Lightning module that trains a run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from torch import nn
from torch.optim import Optimizer

from autoloss.core.component import Component
from autoloss.core.loss import Loss
from autoloss.core.problem import Problem
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.weighting import Weighting
from autoloss.probe.implicit import Implicit
from autoloss.training.lightning.loaders import HeldOut
from autoloss.training.lightning.run_module import RunModule

Made = TypeVar("Made")
Attempt = Callable[[Callable[[], Made]], Made | None]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
SchedulerFactory = Callable[[Optimizer, int], Any]


@dataclass(frozen=True, slots=True)
class Ingredients:
    """What a run is made of; each thing is built once from the configuration.

    Args:
        problem: the data, the network, and what the losses compare.
        losses: the loss of each term of the problem.
        weighting: what weighs these losses.
        sample_weighting: what weighs the samples of each loss.
        optimizer: makes an optimiser from parameters.
        scheduler: makes a learning-rate scheduler from an optimiser and the number of its steps.
        implicit: how weights are judged by their final effect (``held_out.implicit``), or ``None``.
        config: the whole configuration, for keys that only this module reads.
        optimizer_of: makes another ``optimizer`` from a node of the configuration.
        samples: the number of training samples; ``None`` if it is not known.
        held_out: batches of held-out data, if a weighting learns from them; else ``None``.
    """

    problem: Problem
    losses: Mapping[str, Loss]
    weighting: Weighting
    sample_weighting: SampleWeighting
    optimizer: OptimizerFactory
    scheduler: SchedulerFactory
    implicit: Implicit | None
    config: Mapping[str, Any]
    optimizer_of: Callable[[Mapping[str, Any]], OptimizerFactory]
    samples: int | None = None
    held_out: HeldOut | None = None

    @property
    def base(self) -> Mapping[str, float | str]:
        """Base weights by loss: factors that multiply the weights of the weighting."""
        return self.config["base"]

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Losses that are balanced as one, by group name."""
        return self.config["groups"]

    @property
    def constraints(self) -> Mapping[str, Any]:
        """Bounds of losses and metrics, by name."""
        return self.config.get("constraints") or {}

    @property
    def penalties(self) -> Mapping[str, Any]:
        """Penalties on the network's parameters, by name."""
        return {name: node for name, node in self.config["penalties"].items() if node is not None}


class ModuleBuilder(Component, ABC):
    """A component that makes the module of a run: ``module=<name>``.

    The parameters of ``__init__`` are the keys ``module.<parameter>`` of the configuration; their defaults must be
    literals in a class of this package. ``__init__`` checks them. ``brings`` adds options of configuration groups to
    the configuration of a run that this module trains: ``{"/players": "gan"}`` adds the file ``players/gan.yaml`` of a
    package that is registered under ``autoloss.conf``.
    """

    brings: ClassVar[Mapping[str, str]] = {}

    def check(self, run: Ingredients, attempt: Attempt[Any]) -> None:
        """Check ``run`` before anything is trained.

        Call each check through ``attempt``, which keeps the error that it raises: all errors are shown together.
        """

    @abstractmethod
    def build(self, run: Ingredients) -> RunModule:
        """The Lightning module that trains ``run``."""
