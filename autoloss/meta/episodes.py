"""The order of the problems on which a weighting rule is learned."""

from __future__ import annotations

import random
from collections.abc import Sequence

from autoloss.core.errors import require


def episodes(problems: Sequence[str], rounds: int, seed: int = 0) -> list[tuple[int, str]]:
    """(round, problem) of each training: every round has every problem once, in a random order.

    >>> [problem for _, problem in episodes(["a", "b"], 2, seed=0)]
    ['b', 'a', 'a', 'b']
    """
    require(len(problems) > 0, "A rule must be learned on problems", "there are none", "Write problems=[two_digits].")
    require(len(set(problems)) == len(problems), "Problems must be distinct", f"they are {', '.join(problems)}")
    require(rounds >= 1, "meta.rounds must be at least 1", f"it is {rounds}")
    order = random.Random(seed)
    return [(turn, problem) for turn in range(rounds) for problem in order.sample(list(problems), len(problems))]
