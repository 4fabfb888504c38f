"""A player of a GAN: how it is trained, and the player that weighs its losses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

from autoloss.core.errors import ConfigError, check_known, require
from autoloss.core.gan.adversarial_loss import AdversarialLoss, InputPenalty
from autoloss.core.loss import Loss
from autoloss.core.need import OUTCOME, SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.weighting import Weighting
from autoloss.training.step.loss_numbers import learned_numbers
from autoloss.training.step.player import Player

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


@dataclass(frozen=True, slots=True)
class PlayerOptions:
    """How one player of a GAN is trained: its losses, its weighting, its optimiser and its steps.

    Args:
        losses: the loss of each term.
        weighting: weighs these losses and no others.
        optimizer: makes an optimiser from parameters.
        scheduler: makes a learning-rate scheduler from an optimiser and the number of turns.
        base: base weights by loss, numbers or schedules; they multiply the weights that the weighting gives.
        groups: losses that are balanced as one unit.
        unbalanced: losses that keep their base weight; penalties on the input gradient always keep it.
        steps: optimiser steps in a turn, at least 1.
        accumulate: micro-batches of one optimiser step, at least 1.
        clip: the largest norm of the gradient, above 0, or ``None`` for no clipping.
        sample_weighting: weighs the samples of these losses. It weighs a penalty on the input gradient only if it
            names that penalty.
        samples: the number of training samples, for sample weightings that keep a number for each sample.
        constraints: bounds by the name of a loss, or of one of the ``metrics``, which validations measure.
        metrics: the names of the problem's metrics.
    """

    losses: Mapping[str, Loss]
    weighting: Weighting
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    scheduler: Callable[[Optimizer, int], Any] | None = None
    base: Mapping[str, float | str] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unbalanced: Sequence[str] = ()
    steps: int = 1
    accumulate: int = 1
    clip: float | None = None
    sample_weighting: SampleWeighting | None = None
    samples: int | None = None
    constraints: Mapping[str, Any] = field(default_factory=dict)
    metrics: Collection[str] = ()

    def __post_init__(self) -> None:
        require(self.steps >= 1, "`steps` must be at least 1", f"steps={self.steps}")
        require(self.accumulate >= 1, "`accumulate` must be at least 1", f"accumulate={self.accumulate}")
        require(self.clip is None or self.clip > 0, "`clip` must be above 0 or null", f"clip={self.clip}")
        if self.weighting.needs & OUTCOME:
            raise ConfigError(
                f"Weighting {self.weighting.title()!r} needs to look at what its step did, but in a GAN the other "
                "player steps in between. Choose a weighting without a look-ahead."
            )
        if self.sample_weighting is not None and SampleNeed.ALIGNMENT in self.sample_weighting.needs:
            raise ConfigError(
                f"Sample weighting {self.sample_weighting.title()!r} learns from held-out data, but a GAN has none. "
                "Choose another."
            )

    @property
    def batches(self) -> int:
        """The number of batches in a turn."""
        return self.steps * self.accumulate


class GanPlayer(Player):
    """The generator's or the discriminator's player, made from its :class:`PlayerOptions`.

    ``losses`` are its losses by term, and ``steps_done`` is the number of its optimiser steps so far.
    """

    def __init__(self, name: str, terms: Sequence[str], options: PlayerOptions, on_nonfinite: str = "raise") -> None:
        if not terms:
            raise ConfigError(f"The {name} must have losses, but it has none. Name them in the problem.")
        check_known(f"loss of the {name}", options.losses, terms)
        _check_numbers(name, options.losses)
        penalties = [term for term, loss in options.losses.items() if isinstance(loss, InputPenalty)]
        sample_weighting = deepcopy(options.sample_weighting)
        if sample_weighting is not None and not sample_weighting.terms:
            sample_weighting.terms = tuple(term for term in terms if term not in penalties)
        super().__init__(
            list(terms),
            options.weighting,
            options.base,
            options.groups,
            list(dict.fromkeys([*options.unbalanced, *penalties])),
            on_nonfinite,
            sample_weighting=sample_weighting,
            size=options.samples,
            whose=name,
            constraints=options.constraints,
            metrics=options.metrics,
        )
        self.name, self.options, self.steps_done = name, options, 0
        self.losses = dict(options.losses)

    def get_extra_state(self) -> dict[str, int]:
        """The number of steps for ``state_dict``."""
        return {"done": self.steps_done}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """The number of steps from ``state_dict``."""
        self.steps_done = state["done"]


def _check_numbers(player: str, losses: Mapping[str, Loss]) -> None:
    for term, loss in losses.items():
        if names := learned_numbers({term: loss}):
            # Where both players have an adversarial loss, it is the generator's.
            own = player == DISCRIMINATOR and not isinstance(loss, AdversarialLoss)
            raise ConfigError(
                f"The numbers of a GAN's losses must be fixed or follow a schedule, but {names[0]} is learned, and the "
                f"other player steps in between. Set {'discriminator.' * own}losses.{names[0]} to a number."
            )


def rename_old_keys(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Give the players' keys of ``state``, a checkpoint of 0.1.0, their names of today, in place."""
    for key in list(state):
        for name in (GENERATOR, DISCRIMINATOR):
            seat = f"{prefix}{name}_seat."
            if key.startswith(seat):
                state[f"{prefix}{name}_player.{key.removeprefix(seat).removeprefix('player.')}"] = state.pop(key)
