"""Learns the numbers of a rule by evolution (CMA-ES) on the outcome of whole trainings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from autoloss.core.errors import ConfigError, require
from autoloss.meta.worth import gains, worth
from autoloss.meta.zoo.families import LEARN, Draw, settings
from autoloss.meta.zoo.trainings import outcomes

RULE = "auto"
# The numbers of the rule that are learned: where the search for each begins, and how far it looks at first.
NUMBERS: Mapping[str, tuple[float, float]] = {
    "norm": (0.5, 0.15),
    "loss": (0.0, 0.15),
    "fall": (0.0, 0.15),
}
Numbers = dict[str, float]


@dataclass(frozen=True, slots=True)
class Generation:
    """One round: the ``candidates``, what each is worth, and the centre of the search after it."""

    number: int
    candidates: Sequence[Numbers]
    worths: Sequence[float]
    centre: Numbers
    sigma: float


@dataclass(frozen=True, slots=True)
class Evolution:
    """What is learned, and how.

    Every generation takes ``turns`` of the families at random, draws ``problems`` new problems of
    each, and trains ``population`` candidates on them. The same ``seed`` gives the same rule. ``known`` are the worths
    of generations that were run before, which are not trained again. ``chosen`` are the numbers that are learned; the
    others keep their defaults.
    """

    generations: int = 24
    population: int = 12
    problems: int = 3
    turns: int = 9
    seed: int = 0
    chosen: Sequence[str] = tuple(NUMBERS)
    known: Sequence[Sequence[float]] = ()
    families: Mapping[str, Draw] = field(default_factory=lambda: LEARN)

    def run(self, between: Callable[[], None] = lambda: None) -> Iterator[Generation]:
        """The generations one after the other; ``between`` is called after each setting."""
        start = np.array([NUMBERS[name][0] for name in self.chosen])
        unit = np.array([NUMBERS[name][1] for name in self.chosen])
        search = _cma(len(start), self.population, self.seed)
        for number in range(self.generations):
            asked = [search.ask() for _ in range(self.population)]
            candidates = [self._named(start + unit * x) for x in asked]
            found = (
                list(self.known[number])
                if number < len(self.known)
                else self.judge(candidates, self.seed + number, between).tolist()
            )
            search.tell([(x, -value) for x, value in zip(asked, found, strict=True)])
            centre = self._named(start + unit * search.mean)
            yield Generation(number, candidates, found, centre, float(search._sigma))

    def judge(self, candidates: Sequence[Numbers], seed: int, between: Callable[[], None] = lambda: None) -> Tensor:
        """What each of ``candidates`` is worth on problems drawn with ``seed``."""
        rules: list[Any] = ["equal", *({"name": RULE, **numbers} for numbers in candidates)]
        each = []
        for setting in settings(self._turn(seed - self.seed), 1, self.problems, seed):
            metrics = outcomes(setting, rules)
            each.append(worth(gains(metrics[1:], metrics[:1])))
            between()
        return torch.cat(each, 1).mean(1)

    def _turn(self, number: int) -> dict[str, Draw]:
        """The families of generation ``number``, in a random order."""
        names, order = sorted(self.families), random.Random(self.seed)
        shuffled = [order.sample(names, len(names)) for _ in range(number + 1)][-1]
        return {name: self.families[name] for name in shuffled[: self.turns]}

    def _named(self, values: Any) -> Numbers:
        return dict(zip(self.chosen, map(float, values), strict=True))


def _cma(size: int, population: int, seed: int) -> Any:
    require(population >= 4, "A population must have at least 4 candidates", f"it has {population}")
    try:
        from cmaes import CMA
    except ImportError as error:
        raise ConfigError(
            "Evolution needs the package cmaes, which is not installed. Install autoloss-weights[cmaes]."
        ) from error
    # With other problems in every generation worths are noisy, so steps are as short as the noise asks for.
    return CMA(mean=np.zeros(size), sigma=1.0, population_size=population, seed=seed, lr_adapt=True)
