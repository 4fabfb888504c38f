"""Trials that are asked for, and trained, at once."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from optuna.study import Study
from optuna.trial import Trial, TrialState

from autoloss.search import budget
from autoloss.search.queued import match_baseline
from autoloss.search.runner import Task
from autoloss.search.samplers import population
from autoloss.search.space import Space

AUTO = 16  # trials that are asked for at once at most: of more, one costs hardly less, and the sampler learns seldom
_BLIND = ("random", "grid", "qmc")  # they draw without looking at results


@dataclass(slots=True)
class BegunTrial:
    """A trial that was begun: what is to be trained, or why it cannot be; ``curve`` are the baseline's metrics."""

    trial: Trial
    started: float
    baseline: bool
    task: Task | None = None
    error: Exception | None = None
    at_once: bool = False  # whether it was trained with others
    seconds: float = 0.0  # its share of the time of those that were trained at once
    curve: dict[int, Mapping[str, float]] = field(default_factory=dict)


def size_of_batch(given: int | str, sampler: Mapping[str, Any], trials: int, workers: int = 1) -> int:
    """How many trials a worker asks for at once, for ``search.fleet``: a number of at least 1, or ``auto``.

    With ``auto`` all ``workers`` together ask for a quarter of the ``trials`` at most, so that the sampler learns from
    results at least three times; a sampler that draws blindly is asked for :data:`AUTO`. Nsga2 is asked for a
    generation at most.

    >>> size_of_batch("auto", {"name": "tpe"}, trials=40)
    10
    >>> size_of_batch("auto", {"name": "tpe"}, trials=40, workers=2)
    5
    >>> size_of_batch("auto", {"name": "qmc"}, trials=40)
    16
    """
    name, quarter = sampler["name"], population(trials)
    most = int(sampler.get("population_size", quarter)) if name == "nsga2" else trials
    if given != "auto":
        return min(int(given), max(1, most))
    return AUTO if name in _BLIND else max(1, min(AUTO, -(-min(most, quarter) // workers)))


def ask_batch(study: Study, space: Space, trials: int, size: int) -> list[Trial]:
    """At most ``size`` trials of a budget of ``trials``; none when others run the rest of it.

    Trials of a fleet whose process died are asked for with their like alone, and as few of them as they allow. Of
    several, each draws its parameters before the next is asked for, so that the sampler sees what it has chosen.
    """
    waiting = study.get_trials(deepcopy=False, states=[TrialState.WAITING]) if size > 1 else []
    limits = [trial.user_attrs.get(budget.AT_MOST) for trial in waiting]
    if any(limits):
        alike = next((i for i, limit in enumerate(limits) if limit != limits[0]), len(limits))
        size = min(size, alike, limits[0] or size)
    found: list[Trial] = []
    while len(found) < size:
        if not budget.spent(study, trials):
            match_baseline(study, space)
        trial = budget.ask(study, trials)
        if trial is None:
            break
        found.append(trial)
        if size > 1:
            with suppress(Exception):  # it is raised again where the trial begins, and is told as its error
                space.suggest(trial)
    return found
