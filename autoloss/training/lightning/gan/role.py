"""How one of two players is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.optim import Optimizer

from autoloss.core.errors import ConfigError, require, unknown
from autoloss.core.gan.adversarial_loss import InputPenalty
from autoloss.core.loss import Loss
from autoloss.core.need import OUTCOME, SampleNeed
from autoloss.core.sample_weighting import SampleWeighting
from autoloss.core.weighting import Weighting
from autoloss.training.step.player import Player

GENERATOR, DISCRIMINATOR = "generator", "discriminator"


@dataclass(frozen=True, slots=True)
class Role:
    """A player's losses, what weighs them, its optimiser, and how it plays.

    Args:
        losses: by term.
        weighting: of these losses, and of no others.
        optimizer: makes an optimiser from parameters.
        scheduler: makes a learning-rate scheduler from an optimiser and the number of turns.
        base: factors by loss that multiply whatever the weighting says.
        groups: losses that are balanced as one.
        unbalanced: losses that keep their base weight; penalties on the input gradient always do.
        steps: optimiser steps in a turn, at least 1.
        accumulate: batches that make one step, at least 1.
        clip: largest norm of the gradient, above 0, or ``None``.
        sample_weighting: weighs the samples of these losses; of penalties on the input gradient only if it names them.
        samples: how many the training data have, for rules that keep a number for each.
    """

    losses: Mapping[str, Loss]
    weighting: Weighting
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    scheduler: Callable[[Optimizer, int], Any] | None = None
    base: Mapping[str, float] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unbalanced: Sequence[str] = ()
    steps: int = 1
    accumulate: int = 1
    clip: float | None = None
    sample_weighting: SampleWeighting | None = None
    samples: int | None = None

    def __post_init__(self) -> None:
        require(self.steps >= 1, "`steps` must be at least 1", f"steps={self.steps}")
        require(self.accumulate >= 1, "`accumulate` must be at least 1", f"accumulate={self.accumulate}")
        require(self.clip is None or self.clip > 0, "`clip` must be above 0 or null", f"clip={self.clip}")
        if self.weighting.needs & OUTCOME:
            raise ConfigError(
                f"Weighting {self.weighting.title()!r} needs to look at what its step did, but in a game the other "
                "player moves in between. Choose a weighting without a look-ahead."
            )
        if self.sample_weighting is not None and SampleNeed.ALIGNMENT in self.sample_weighting.needs:
            raise ConfigError(
                f"Sample weighting {self.sample_weighting.title()!r} learns from held-out data, but a game has none. "
                "Choose another."
            )

    @property
    def batches(self) -> int:
        """How many batches a turn takes."""
        return self.steps * self.accumulate


class Seat(nn.Module):
    """A player at its place: its :class:`Role`, its :class:`Player`, and the optimiser steps that it has ``done``."""

    def __init__(self, name: str, terms: Sequence[str], role: Role, on_nonfinite: str = "raise") -> None:
        super().__init__()
        if not terms:
            raise ConfigError(f"The {name} must have losses, but it has none. Name them in the problem.")
        for term in role.losses:
            if term not in terms:
                raise unknown(f"loss of the {name}", term, terms)
        self.name, self.role, self.done = name, role, 0
        self.losses = dict(role.losses)
        penalties = [term for term, loss in self.losses.items() if isinstance(loss, InputPenalty)]
        unbalanced = list(dict.fromkeys([*role.unbalanced, *penalties]))
        weighed = deepcopy(role.sample_weighting)
        if weighed is not None and not weighed.terms:
            weighed.terms = tuple(term for term in terms if term not in penalties)
        self.player = Player(
            list(terms),
            role.weighting,
            role.base,
            role.groups,
            unbalanced,
            on_nonfinite,
            sample_weighting=weighed,
            size=role.samples,
            whose=name,
        )

    def get_extra_state(self) -> dict[str, int]:
        """The count of steps for ``state_dict``."""
        return {"done": self.done}

    def set_extra_state(self, state: dict[str, int]) -> None:
        """The count of steps from ``state_dict``."""
        self.done = state["done"]
