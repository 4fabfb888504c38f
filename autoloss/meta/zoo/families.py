"""The families of made-up problems: those to learn on, and those that no rule has seen."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from autoloss.core.problem import Problem
from autoloss.meta.zoo.autoencoders import Autoencoders
from autoloss.meta.zoo.equations import Equations
from autoloss.meta.zoo.pictures import DrawnPictures
from autoloss.meta.zoo.tables import Tables
from autoloss.meta.zoo.teachers import Teachers

Draw = Callable[[random.Random], Problem]


@dataclass(frozen=True, slots=True)
class Setting:
    """A problem's structure and how it is trained; ``seeds`` are those of the data that are drawn, a problem each.

    ``rates`` are the learning rates, one for each seed. SGD divides them by the sum of the losses' factors, as a person
    would who makes equal weights train at all.
    """

    family: str
    problem: Problem
    optimizer: str
    steps: int
    batch: int
    seeds: tuple[int, ...]
    rates: tuple[float, ...]


def _size(draw: random.Random) -> tuple[int, int]:
    """Width and depth of a trunk."""
    return draw.choice((8, 16, 32, 48)), draw.choice((1, 2, 3))


def _kinds(draw: random.Random, least: int, most: int) -> tuple[str, ...]:
    return tuple(draw.choice(("number", "class")) for _ in range(draw.randint(least, most)))


def _teachers(least: int, most: int, **options: bool | int) -> Draw:
    def make(draw: random.Random) -> Problem:
        width, depth = _size(draw)
        return Teachers(_kinds(draw, least, most), width, depth, draw.choice((6, 12, 24)), **options)  # type: ignore[arg-type]

    return make


def _pictures(*styles: str, counts: bool = True) -> Draw:
    def make(draw: random.Random) -> Problem:
        width, depth = _size(draw)
        return DrawnPictures(styles, counts, True, max(width, 16), depth)

    return make


def _tables(least: int, most: int, skewed: bool) -> Draw:
    def make(draw: random.Random) -> Problem:
        width, depth = _size(draw)
        return Tables(_kinds(draw, least, most), draw.choice((9, 16)), width, depth, skewed)

    return make


def _autoencoders(style: str, classes: bool) -> Draw:
    return lambda draw: Autoencoders(style, draw.choice((16, 32, 48)), classes)


def _equations(name: str) -> Draw:
    return lambda draw: Equations(name, draw.choice((12, 16, 24)), draw.choice((2, 3)))


LEARN: Mapping[str, Draw] = {
    "teachers": _teachers(2, 5),
    "noisy_teachers": _teachers(3, 6, pure_noise=1),
    "many_teachers": _teachers(7, 9),
    "bars": _pictures("bars"),
    "blob_pairs": _pictures("blobs", "blobs", counts=False),
    "tables": _tables(2, 4, skewed=False),
    "bar_codes": _autoencoders("bars", classes=True),
    "advection": _equations("advection"),
    "reaction": _equations("reaction"),
}
UNSEEN: Mapping[str, Draw] = {
    "conflicts": _teachers(4, 6, conflict=True),
    "late": _teachers(3, 5, late=True),
    "twelve": _teachers(12, 12, pure_noise=3),
    "stripes": _pictures("stripes"),
    "mixed_triples": _pictures("stripes", "blobs", "bars", counts=False),
    "skewed_tables": _tables(3, 6, skewed=True),
    "stripe_codes": _autoencoders("stripes", classes=False),
    "blob_codes": _autoencoders("blobs", classes=True),
    "heat": _equations("heat"),
    "wave": _equations("wave"),
}


def settings(families: Mapping[str, Draw], each: int, problems: int, seed: int) -> list[Setting]:
    """``each`` settings of each family, with ``problems`` problems each.

    Half of a family's settings use SGD with momentum, half Adam; equations, which SGD hardly trains, use Adam alone.
    """
    found = []
    for family, make in families.items():
        for number in range(each):
            draw = random.Random(f"{family} {number} {seed}")
            problem = make(draw)
            equation = isinstance(problem, Equations)
            adam = equation or (number + list(families).index(family)) % 2 == 0
            steps = draw.choice((200, 400)) if equation else draw.choice((60, 120, 240))
            low, high = (1e-3, 1e-2) if adam else (0.03, 0.3)
            rates = tuple(math.exp(draw.uniform(math.log(low), math.log(high))) for _ in range(problems))
            seeds = tuple(draw.randrange(2**31) for _ in range(problems))
            optimizer = "adam" if adam else "sgd"
            found.append(Setting(family, problem, optimizer, steps, draw.choice((24, 48)), seeds, rates))
    return found
